"""Parallel collections: the type, and the readers that make one from a source."""
