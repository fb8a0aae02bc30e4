"""Experts that are pretrained networks: the preset `neural`, and any network a person brings.

A network is named by its source, as in `--experts appearance=SOURCE`:

    facebook/dinov2-base            a Hugging Face id; `@REVISION` behind it pins another revision than `main`
    /data/networks/my-dinov2        a local folder as `save_pretrained` writes it
    onnx:squeezenet.onnx            an ONNX file, with FILE.json beside it where it needs telling (sidecar.py)

Nothing is fetched here, and weights are safetensors or ONNX, never pickles. In the order to read: hub.py (presets,
ids, the lock file), weights.py (finds what is on this machine, and says the command that fetches the rest),
foreign.py and weight_sizes.py (read a stranger's folder without running its code), network.py and onnx_network.py
(run a network), expert.py (what all experts that are networks share), preprocessing.py, then the experts:
appearance.py, motion.py, audio.py, face.py; dual.py (networks that compare with texts; pipeline.py: in folders of
sentence-transformers); classes.py (classifiers whose classes have names); and those whose tokens are words, ocr.py
and speech.py (whisper.py), with text_embedding.py.
"""
