"""Values, files and objects of the notebook as text that a model can read.

Inside, imports run attachments > tables, source_code, names > budget; interpolation is apart.
"""
