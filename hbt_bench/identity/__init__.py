"""Names and fingerprints: of tasks, of models, of numbers."""
