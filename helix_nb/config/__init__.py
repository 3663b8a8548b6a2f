"""Endpoints as they are configured, with their keys, and this process's defaults.

Inside, imports run registry > environment > session > connection > settings > secrets, profiles, urls.
"""
