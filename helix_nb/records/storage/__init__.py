"""The SQLite file, and the one thread that writes it.

Inside, imports run deletion > log > batches, writer > rows, queue > content, log_file > schema, location.
"""
