"""The demo: clips that hcq renders itself, and the whole journey over them, offline.

scene.py says what a clip shows and which combinations are kept for the test; render.py draws it (faces.py the
people, sounds.py the sound); grammar.py puts it in words; journey.py runs the five verbs over the result.
"""
