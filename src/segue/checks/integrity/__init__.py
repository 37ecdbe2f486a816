"""Integrity checks (SG1xx): an issue blocks the headline number."""
