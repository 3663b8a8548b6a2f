"""The child process that holds one model; nothing else imports MLX.

Inside, imports run main > engine > generation, prompt_cache, single_generator > load > download.
"""
