"""The only door to MTEB: task classes and models."""
