"""Decoding in child processes with a deadline: from files to the feature store, every video decoded once.

A video's way, file by file:

    inputs.py     folders, globs and lists -> the files to extract, each with its id
    engine.py     what is finished is skipped; what is left goes to the workers; report.py is what it tells
    ledger.py     what the store knows of an input
    crew.py       threads that drive the worker processes
    child.py      one worker process as the parent sees it: ask, wait until the deadline, kill
    worker.py     the worker process itself: one job a line (protocol.py)
    pipeline.py   one video: decoded once, each stretch shown to every expert, tokens joined
    decoder.py    the decoder protocol, and which decoder opens a file (pyav.py, decord.py)
    sampling.py   which frames an expert gets, how large, and where a stretch ends
    hearing.py    the sound, mono and on the clock of the frames

planning.py is `--dry-run`, measuring.py is `hcq bench extract`.
"""
