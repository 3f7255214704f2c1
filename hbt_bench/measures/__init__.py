"""Measures computed from ranks: retrieval measures and measures of language bias."""
