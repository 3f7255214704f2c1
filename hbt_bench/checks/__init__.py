"""Check an installation and task files."""
