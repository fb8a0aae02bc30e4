"""Captions read, matched with features, split, and made into batches."""
