"""Segue predicts which passage comes next, and says whether the prediction can be trusted."""

__version__ = "0.1.0"
