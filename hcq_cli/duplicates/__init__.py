"""Near-identical videos, and videos that share a part, found without comparing all pairs.

In go the tokens of a feature store, of the expert `appearance` and, where it ran, `audio`; out come groups. The codes
of a search say what a video is about, and two weddings are about the same: they cannot tell a copy. In the order of
reading:

    fingerprints.py   tokens -> 256 bits each, near ones for near tokens
    candidates.py     pairs of videos that have equal parts of fingerprints, by sorting (LSH)
    alignment.py      a pair -> the stretches of time that are the same, at the same or nearly the same speed
    groups.py         all of it: candidates, alignments, copies that belong together, parts; and as a file

On 56 real clips, 22 of them changed by ffmpeg in seven ways, with the classic experts: all 22 were found that were
re-encoded, scaled to a half, trimmed by an eighth and made 5 % faster; 21 of those cropped by a tenth, 19 of those
cropped by three tenths, and 16 of the mirrored ones, which are told by their sound. Joined wrongly were two pairs of
clips of one studio, with the same background and light. Without a look at what moves two more of the changed were
found, and four groups, of up to four such clips, were joined wrongly.
"""
