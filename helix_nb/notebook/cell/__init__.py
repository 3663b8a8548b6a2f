"""A `%%helix` cell: its options, its request, and its run.

Inside, imports run side_by_side > run > request > arguments > options; error_prompts is apart.
"""
