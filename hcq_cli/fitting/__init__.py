"""Models without captions: pretrained parts, and quantizers fitted on a person's own videos.

A dual encoder looks or listens as the expert `dual` (experts/neural/dual.py); what reads in it is written to a file
that a query runs without torch: dual_text.py, and dual_onnx.py for what a person brings as ONNX.
"""
