"""Captions read, matched with the features of a store, split, and made into batches."""
