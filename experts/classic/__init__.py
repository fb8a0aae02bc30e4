"""The preset `classic`: four experts that need no weights and no GPU, made of well-known descriptors.

A piece of a video goes in as a `Clip`, `Tokens` come out. In the order to read: descriptor.py (how blocks of numbers
are scaled and joined), then appearance.py (image_descriptors.py; mirror.py: the same of mirrored pictures), motion.py
(optical_flow.py), audio.py (spectrogram.py), face.py.
"""
