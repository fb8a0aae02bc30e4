"""Models without captions: pretrained networks, fitted to a person's own videos.

    hcq fit --concepts onnx:classifier.onnx          a classifier's classes and the sentence vectors of their names
    hcq fit --dual google/siglip2-base-patch16-224   vectors that a dual encoder made of videos, and of its texts
    hcq train --init CKPT --captions FILE            such a model, adapted to what captions there are

sources.py finds what a classifier has written into the feature store and what its classes are called; network.py is
the model; sentences.py is what people ask in general; fitting.py puts them together and fits the quantizer.

dual.py does so for dual encoders, which look or listen as the expert `dual` (experts/neural/dual.py); dual_space.py
is their part of the model. A dual encoder's text encoder is written to a file that a query runs without torch:
dual_text.py, dual_pipeline.py for pipelines of sentence-transformers, dual_onnx.py for what a person brings as ONNX.

with_captions.py adapts a fitted model: adapter.py is the map of its texts, adaptation.py learns it and decides.
"""
