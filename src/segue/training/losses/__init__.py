"""Losses: InfoNCE with its kinds of negatives, AR cosine, MSE, and their weighted sums."""
