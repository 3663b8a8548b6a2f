"""The log: one row per exchange in a SQLite file that several kernels share.

Inside, imports run logbook > export > replay > reading > storage; logbook > pricing; models > reading.
"""
