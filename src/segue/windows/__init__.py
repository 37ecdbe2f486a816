"""Splits of documents, near-duplicate documents, and windows of passages."""
