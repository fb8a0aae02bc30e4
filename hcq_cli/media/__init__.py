"""Decoding in child processes with a deadline: from files to the feature store, every video decoded once.

A video's way, file by file:

    inputs.py     folders, globs and lists -> the files to extract, each with its id
    engine.py     what is finished is skipped; what is left goes to the workers, whatever becomes of them
    child.py      one worker process as the parent sees it: ask, wait until the deadline, kill
    worker.py     the worker process itself: one job a line
    pipeline.py   one video: decoded once, each stretch shown to every expert, tokens joined
    decoder.py    the decoder protocol, and which decoder opens a file (pyav.py, decord.py)
    sampling.py   which frames an expert gets, how large, and where a stretch ends
    failures.py   files known to be broken, so that they are not decoded again
"""
