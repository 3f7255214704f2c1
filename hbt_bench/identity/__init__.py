"""Names and fingerprints of tasks, models and scores."""
