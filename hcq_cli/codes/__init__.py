"""The code file: what `hcq encode` writes, and a search can read as it is.

In go the uint8 codes of videos or captions, their ids and paths, and the quantizer that the codes refer to; out comes
one file that is opened in milliseconds and can prove that it is whole. In the order of reading:

    container.py  the checksummed file of named arrays that code files and all files of an index are
    codefile.py   the code file
    ids.py        ids of videos and of their segments in time

Ids and paths are held as hcq_cli/packed_strings.py holds them: millions of strings in two arrays.
"""
