"""MMT's published features and split files, brought into the feature store. Start reading at importing.py."""
