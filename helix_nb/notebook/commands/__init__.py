"""`%helix COMMAND`: the table of commands, and what each does.

Inside, the table imports a command when it is used; no command imports another.
"""
