"""Sections of the report, in reading order."""
