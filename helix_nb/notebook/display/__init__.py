"""Answers as people see them: in a live output, in one at the end, or in a terminal.

Inside, imports run live > output > render > facts; transcript > facts.
"""
