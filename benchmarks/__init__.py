"""Measurements of Segue; each is run from the repository as `python -m benchmarks.NAME`."""
