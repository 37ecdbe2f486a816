"""Text models that start from the bank's own encoder and learn from its passages: dual encoder and cross-encoder."""
