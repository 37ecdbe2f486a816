"""Retrievers are judged: ranks, metrics, intervals, gates, latency."""
