"""The search: codes become an index, and a text, a video or an id becomes ranked videos.

In go a code file (`hcq encode`) and a query; out come hits with scores. A query alone imports no torch. In the order
of reading, first a query:

    query.py           texts or vectors -> hits, by the best rows of an index
    params.py          how a search is asked for
    examples.py        an id -> what is like it
    meant_ids.py       what a person may mean by an id that is not there
    moments.py         where in a video a query fits: its segments, neighbours in one
    arranging.py       hits by date, path or duration, page by page, with their columns; which are worth showing
    text_encoder.py    what makes vectors of a text
    groups.py          an index searched in groups of segments, by whoever holds each
    index.py           the index as readers see it
    manifest.py        what its manifest says
    code_file.py       a code file as such an index
    segment.py         a file of it: codes, ids, paths, and how an id is found
    segment_columns.py what is known of its rows: duration, date, the user's own columns
    filtered.py        an index of which only those videos are found that pass a filter
    ivf.py             its inverted lists: which videos lie together, and the search in those that a query wants
    video_query.py     a video file as a query
    composing.py       several examples and texts, for and against, as one query
    faces.py           people by example, where their faces were extracted
    index_words.py     which videos say or show what a query asks for
    sentence_vectors.py captions and names, found in other words
    fusing.py          a query that words have a say in: hits of the model and of the words in one answer

then how an index is made, and taken elsewhere:

    index_writer.py    build, add, remove, compact
    text_side.py       how the text encoder of its model comes into it
    chance.py          what generic sentences reach in it, for confidences
    index_draft.py     the generation that is being made, until it is published
    segment_writer.py  codes in kernel order, in bounded memory
    ivf_training.py    k-means, and the choice of how many lists a query looks into
    faiss_export.py    the index as a file of Faiss
    parquet_export.py  ids, paths, seconds and columns as a table
"""
