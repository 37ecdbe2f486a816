"""InfoNCE and its negatives, and sums of terms."""
