"""A video file -> decoded pieces on one clock, whoever asks. Of experts only the contract is known here, of
stores nothing.

In: names of files and folders, and what is wanted of them (frames a second, size, sample rates). Out: clips of frames
and sound, all times in seconds from the start of the file. In the order in which to read it:

    inputs.py     folders, globs and lists -> the files, each with its id
    sniffing.py   what a file is by its first bytes, whatever its name
    decoder.py    the decoder protocol, and which decoder opens a file
    pyav.py       the first choice: picture and sound through FFmpeg
    clock.py      the times of all its tracks and parts, on one clock that only goes forward
    picture_times.py  when each picture is shown, by the times that the file says, or by their order
    damage.py     what of it could not be decoded, and which pictures are left out for it
    joined.py     several recordings behind one another in a file, one by one
    programmes.py where a transport stream changes its tracks
    tracks.py     the file opened, and which of its tracks are seen and heard
    pixels.py     decoded frames -> RGB, upright, in the colours that a player shows
    decord.py     the alternative
    audio.py      the sound, mono, resampled and on the clock of the frames
    container_facts.py  how large its pictures are, how long it is and when it was taken, as its container says
    durations.py  how long files are, by their headers
    clips.py      which frames an expert gets, how large, and how pieces become clips
    cutting.py    a stretch of a video as a file of its own
    playing.py    a video opened in a player of this machine
    thumbnails.py the picture at a second, as a small JPEG, for who looks at hits
"""
