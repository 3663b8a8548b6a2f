"""The one flow (`flow.py`) and what it needs: a gate, retries, limits, and the Reply as it grows.

Inside, imports run rounds > flow > gate > retries, rate_limits, reply_builder.
"""
