"""Whatever answers: servers over HTTP, local models, the embedded demo. `base.py` is the seam.

Inside, imports run registry > local > openai > transports, sections, base.
"""
