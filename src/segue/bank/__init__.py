"""PassageBank: passages and their vectors on disk, by row number."""
