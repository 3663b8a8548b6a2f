"""What IPython sees: the magics, their display, their completion, and the chat panel."""
