"""The words of videos: what is said, shown and told of them, searched exactly.

In go transcripts of a feature store, subtitles beside the videos, captions and names; out come sentences. In the
order of reading:

    sentences.py       a sentence, and where each kind comes from
    sidecars.py        subtitles beside a video
    gathering.py       all sentences of a collection's videos
    tokens.py          the words of a text, as they are stored and looked for, and what a query asks of them
    table.py           the full-text table of an index segment
    export.py          sentences as .srt, .vtt or .jsonl
"""
