"""A small search over settings, on training and validation documents."""
