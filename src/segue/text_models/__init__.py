"""What is fine-tuned from the bank's encoder."""
