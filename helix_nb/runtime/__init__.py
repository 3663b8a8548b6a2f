"""The background loop where every exchange runs, and how Ctrl-C and forks are met.

Inside, imports run loop > interrupts, fork, front_end.
"""
