"""The code file: what `hcq encode` writes and a search can read as it is."""
