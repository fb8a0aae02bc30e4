"""The exact scan: from look-up tables and codes to the k best rows, by whichever kernel is fastest here.

In go the look-up tables of some queries, float32 [Q, S, K], and codes, uint8 [N, S]; out come the rows and scores of
the k best of each query. In the order of reading:

    table.py          a query's vectors -> its look-up table
    blocks.py         kernel order: how codes lie in memory
    topk.py           what every kernel takes and gives
    kernels.py        which kernel, and a scan by many threads
    numpy_kernel.py   the scan in NumPy, which all others must equal
    native_kernel.py  the scan in C, whose sources are in native/
    device.py         the scan on a graphics card
"""
