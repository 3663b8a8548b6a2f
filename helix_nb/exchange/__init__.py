"""The one flow (`flow.py`), with its gate, retries and limits, and the Reply as it grows.

Inside, imports run rounds > flow > gate > retries, rate_limits, reply_builder.
"""
