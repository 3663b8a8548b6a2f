"""`python -m helix_nb`: ask, serve, demo, doctor.

Inside, imports run main > doctor.
"""
