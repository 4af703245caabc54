"""Comparison models that every result is shown beside, on the same splits."""
