"""The background loop where every exchange runs; Ctrl-C, forks, and whether somebody watches.

Inside, imports run loop > interrupts, fork, front_end.
"""
