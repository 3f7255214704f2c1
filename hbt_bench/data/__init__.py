"""Parallel collections: the type, and the readers that make them from files, tables and hubs."""
