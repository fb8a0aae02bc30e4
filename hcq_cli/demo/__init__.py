"""The demo: clips that hcq renders itself, and the whole journey over them, offline; `hcq demo` runs it.

A number of clips and a seed go in; a folder of MP4 files, a workspace that can be searched and a report come out. In
the order to read: clips.py (what each clip shows, and which combinations are kept for the test), grammar.py (captions
and the five shown queries), drawing.py and sounds.py (what is seen and heard), render.py (MP4 files), folder.py (what
lies where), journey.py (the verbs over it all).
"""
