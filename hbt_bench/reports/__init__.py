"""Leaderboards, comparisons, reports, cards and exports made from results."""
