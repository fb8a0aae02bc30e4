"""Columns beside the codes: what is known of videos, and the filters over it (`--where`).

In go the facts of a feature store, a table of the user's own, and a filter as text; out come files of columns, a row
for each of an index segment, and which rows pass. Nothing here knows of an index. In the order of reading:

    column.py          one column in memory: numbers, dates, flags or texts, any of them unknown
    columns_file.py    columns in a file, mapped when they are read
    video_columns.py   what hcq itself knows of a video: duration, folder, date, sound, words, faces, size
    own_columns.py     the user's CSV, JSON Lines or Parquet, joined by id or path
    grammar.py         a filter as text -> its tree; errors that point at the place
    predicate.py       a tree and columns -> the rows that pass
"""
