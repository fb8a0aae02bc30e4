"""Training: the loss, the loop, k-means on the codebooks, and recipes."""
