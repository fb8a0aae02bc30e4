"""The model: text tower, multi-modal transformer, GhostVLAD and the quantizers, as PAPER letters describe them.

Letters used throughout: B batch, C captions a video, T tokens, E experts, D common width, L fine levels,
L+1 levels in all (0 is the coarse one), M sub-codebooks a level, K codewords, d = D/M, S = (L+1)·M.
"""
