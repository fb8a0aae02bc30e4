"""How good a model is: every caption looks for its video and every video for its captions, by codes and by floats.

In: a model, features and captions. Out: recalls and ranks as dataclasses, and a picture. Open the files in this
order: `retrieval` (a model and a split → recalls both ways; and as a file of the workspace), `scores` (queries ×
items, some queries at a time), `metrics` (scores → ranks → recall at k), `calibration` (whether confidences hold),
`plots` (recall against bytes a video, confidence against what is so).
"""
