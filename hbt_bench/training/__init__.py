"""Models made here, as plain sentence-transformers folders."""
