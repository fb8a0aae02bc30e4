"""Training: encoders and codebooks learned together from captioned videos, an epoch at a time.

In: features and captions (`datasets`), and a recipe. Out: a checkpoint folder, and a line an epoch in metrics.jsonl.
Open the files in this order: `config` (every setting), `recipe` (the TOML files that set them), `data` (what a run
learns from), `loop` (one run, start to end), `method` (what a kind of model brings to the loop), `losses` (AQ-CL),
`codebooks` (k-means and rotation, by which codewords follow the embeddings), `optimizer` (Adam and its step size),
`resume` (the state of an unfinished run), `progress` (what an observer is told), `hold_outs` (what
to expect of new videos).
"""
