"""The SQLite file, and the one thread that writes it.

Inside, imports run log > rows, batches > writer > queue > log_file > location, processes, content, schema.
"""
