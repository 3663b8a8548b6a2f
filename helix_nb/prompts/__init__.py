"""The parts of a prompt besides its text: `{{ }}` placeholders, and images.

Inside, neither file imports the other.
"""
