"""A person's ask: checked, sent on the background loop, waited for; and Chats, which remember.

Inside, imports run chat, ask > streams > pending > request; resume > turns.
"""
