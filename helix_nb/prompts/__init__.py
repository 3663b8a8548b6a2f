"""What goes into a prompt besides its text: `{{ }}` placeholders, and images."""
