"""The exact scan: from look-up tables and codes to the k best rows, by whichever kernel is fastest here.

In go the look-up tables of Q queries, float32 [Q, S, K], and the codes of N videos, uint8 [N, S]; out come the rows
and scores of the k best videos of each query. Nothing here knows of files or indexes. In the order of reading:

    table.py    the vectors of a query -> its look-up table
    blocks.py   kernel order: how codes lie in memory, so that they can be scanned fast
    topk.py     what every kernel takes and gives
    kernels.py  the kernels of the processor, in NumPy and in C (native/), the choice among them, and `scan` itself
    device.py   the kernel for a graphics card
"""
