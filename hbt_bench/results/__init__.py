"""Results on disk: evaluate, write, read."""
