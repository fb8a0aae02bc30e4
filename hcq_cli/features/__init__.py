"""The feature store: what the experts found in every video, safe on disk and read back in random batches.

In go finished videos (`VideoFeatures`: id, file, and for each expert features [n, dim] and times [n] in seconds), one
at a time and from any number of processes; out come batches of B videos (`Ragged`, the tokens of one expert). No kill
at any instant loses a finished video, and no byte is used unchecked. Files, in the order to read them:

- records.py: what goes in and what comes out
- store.py: what lies where in the folder; reading
- folder.py: the files of a store, those in shards and those on their way there
- writer.py: what is still to do; writing, with the lock, or several runs at once without it
- catalog.py: which row counts where an id was written more than once
- shard.py, shard_writer.py: thousands of videos in one immutable file, read and written; shard_header.py: how
  they lie in it; open_files.py: it stays open while the store is read
- stored_tokens.py: tokens of films, which stay in the store until rows are asked for
- compaction.py: keeping shards few
- verification.py: finding damage, and taking it out
- transcripts.py, failures.py: recognised words, and files that gave nothing, for people to read
- facts.py: duration, date, sound and so on of many videos at once
- export.py: the store for NumPy and pandas
"""
