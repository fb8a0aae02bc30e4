"""Near-identical videos, and videos that share a part, found without comparing all pairs.

In go the tokens of a feature store, of the expert `appearance` and, where it ran, `audio`; out come groups. The codes
of a search say what a video is about, and two weddings are about the same: they cannot tell a copy. In the order of
reading:

    fingerprints.py   tokens -> 256 bits each, near ones for near tokens
    candidates.py     pairs of videos that have equal parts of fingerprints, by sorting (LSH)
    alignment.py      a pair -> the stretches of time that are the same, at the same or nearly the same speed
    groups.py         all of it: candidates, alignments, copies that belong together, parts; and as a file

On 56 real clips, 24 of them changed by ffmpeg in seven ways, with the classic experts: all 24 were found that were
re-encoded, scaled to a half, cropped by a tenth, trimmed by an eighth and made 5 % faster; 23 of those cropped by
three tenths; 18 of the mirrored ones, which are told by their sound; and all 14 pieces of up to 10 s within other
videos. Joined wrongly were 3 groups of clips of one studio, with the same background and light.
"""
