"""Check an installation, task files and submitted results."""
