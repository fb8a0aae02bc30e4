"""From captions and features to what a run trains or is measured on: train, val, test, and their batches.

In: a caption file that a person wrote, and a feature store. Out: NumPy arrays; nothing here imports torch. Open the
files in this order: `formats` (which format a caption file has), `rows` (what it says, row by row),
`tables` and `documents` (CSV; JSON in one piece), `captions` (its videos, and what is wrong with which
line), `matching` (which row of the store a name means), `splits` (who trains, validates, tests), `dataset` (all of
that together), `features` (reading by row, from disk or memory), `batches` (ragged tokens made rectangular; what
meets in a training step), `segments` (long videos cut into time slices).
"""
