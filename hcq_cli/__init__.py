"""hcq: search a folder of videos by plain text, at 256 bytes a video."""

__version__ = "0.1.0"
