"""Run folders, read window by window."""
