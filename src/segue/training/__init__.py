"""Training: windows → predictors, with one loop for every model and loss."""
