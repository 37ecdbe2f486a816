"""Evaluation of retrievers: ranks, metrics, intervals, gates, latency."""
