"""Numbers and markup in sentences."""
