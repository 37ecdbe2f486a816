"""Text models: dual encoder and cross-encoder, fine-tuned from the bank's encoder."""
