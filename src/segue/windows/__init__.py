"""Which passages are read and which came next: splits, near-duplicates, windows."""
