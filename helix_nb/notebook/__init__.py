"""What IPython sees: the magics, their display, their completion, and the chat panel.

Inside, imports run extension > completion > commands > cell, panel > session > attach, display.
"""
