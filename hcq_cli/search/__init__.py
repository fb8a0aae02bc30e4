"""The search room: table, scan kernels, index and query. Never imports torch by itself (see tower.py)."""
