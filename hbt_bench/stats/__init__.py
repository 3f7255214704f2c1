"""Statistics clustered by question: intervals, paired tests, seeds."""
