"""The networks of Hybrid Contrastive Quantization: captions and videos in, unit vectors and byte codes out.

Wang, Chen, Liao, Zeng, Li, Xia and Xu, "Hybrid Contrastive Quantization for Efficient Cross-View Video Retrieval",
WWW 2022, https://arxiv.org/abs/2202.03384, called "HCQ" in the docstrings here.

Letters for shapes, used throughout the program:
    B  videos or captions of a batch        T  tokens of one, padding included
    E  experts                              D  common width of all embeddings
    L  fine levels; L+1 in all, number 0 is the coarse one
    M  sub-codebooks a level                K  codewords a sub-codebook, at most 256
    d  = D/M, width of a chunk              S  = (L+1)·M, codes and so bytes of a video
    N  videos searched                      Q  queries

In the order to open them: `config` (what shapes a model), `hcq` (the whole network), then its parts: `tokenizer` and
`text` (captions to token vectors), `video` (experts' features to token vectors), `pooling` (tokens to one vector a
level), `quantizer` (vectors to codes), `hubness` (what is near to everything), `confidence` (how sure a
hit is).
`trained_model` is the whole, from texts and videos to vectors and codes, `checkpoint` the folder that it is kept in,
`registry` the table of all kinds of model; `encoding` takes whole collections through it, `video_batches` says what
of them has changed, `encoding_parts` does the same by several runs, `drift` tells whether it knows videos like these.
`text_source` finds pretrained text encoders; `export` writes the text encoder as ONNX, `exported_text_encoder` runs
that without torch; `video_export` and `exported_video_encoder` do so for the other side, which `video_side` opens or
makes and `video_model` describes. `graph_file` is the file of both, `graph_steps` what NumPy makes of the text
encoder for a single query.
"""
