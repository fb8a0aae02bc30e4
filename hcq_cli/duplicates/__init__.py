"""Near-identical videos, and videos that share a part, found without comparing all pairs.

In go the tokens of a feature store, of the expert `appearance` and, where it ran, `audio`; out come groups. The codes
of a search say what a video is about, and two weddings are about the same: they cannot tell a copy. In the order of
reading:

    fingerprints.py   tokens -> 256 bits each, near ones for near tokens
    candidates.py     pairs of videos that have equal parts of fingerprints, by sorting (LSH)
    alignment.py      a pair -> the stretches of time that are the same, at the same or nearly the same speed
    groups.py         all of it: candidates, alignments, copies that belong together, parts; and as a file

On 56 real clips, each changed by ffmpeg in six ways, with the classic experts: found were all 56 that were mirrored,
55 re-encoded, 54 scaled to a half, 55 made 5 % faster, 48 cropped by a tenth and 41 by three tenths; the others show
one still picture, or two seconds of a person before a wall. Among the clips as they are no two were joined; among all
392 three groups of two such clips and their copies were.
"""
