"""The preset `classic`: four experts that need no weights and no GPU, made of well-known descriptors.

A segment of a video goes in as a `Clip`, `Tokens` come out. In the order to read: descriptor.py (how blocks of
numbers are scaled and joined), then appearance.py, motion.py, audio.py, face.py and what they are made of.
"""
