"""Confidence of answers: the model, its fit, and its evaluation."""
