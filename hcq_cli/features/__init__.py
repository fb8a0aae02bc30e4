"""The feature store: what the experts found in every video, kept for good. Start reading at store.py."""
