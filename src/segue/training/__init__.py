"""Windows become predictors: one loop for every model and loss."""
