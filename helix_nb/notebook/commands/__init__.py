"""`%helix COMMAND`: the table of commands, and what each does.

Inside, each command is imported by the table when it is used.
"""
