"""Answers as people see them: a live output, a final one, or a terminal.

Inside, imports run live > render, output > facts.
"""
