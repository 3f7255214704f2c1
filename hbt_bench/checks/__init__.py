"""Checks of an installation and of task files."""
