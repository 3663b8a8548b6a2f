"""The chat panel: an anywidget over a conversation that knows no widget.

Inside, imports run widget > actions > conversation, transcript > items > stream, files, settings > protocol.
"""
