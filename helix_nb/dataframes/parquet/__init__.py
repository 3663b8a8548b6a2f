"""Prompts over Parquet files larger than memory.

Inside, imports run ask > parts > dataset.
"""
