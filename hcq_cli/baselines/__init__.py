"""What HCQ is compared with, on the same towers and at the same bytes a video.

Three models, each with its network and its training in one file: `hct` (the towers alone, dense vectors), `jpq` (the
coarse level under one product quantizer) and `dcmh` (the coarse level as binary codes). `compression` takes the dense
vectors of a trained model and compresses them afterwards: LSH, ITQ, PQ, OPQ, LSQ. `model.registry` says which class
belongs to which `model.kind`; nothing else of the core knows of them.
"""
