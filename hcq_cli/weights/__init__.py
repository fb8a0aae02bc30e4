"""Weights of pretrained networks for offline work: fetching them, and saying what is there."""
