"""A video file -> decoded pieces on one clock, whoever asks.

inputs.py     folders, globs and lists -> the files to decode, each with its id
decoder.py    the decoder protocol, and which decoder opens a file
pyav.py       the first choice: picture and sound through FFmpeg
decord.py     the alternative
audio.py      the sound, mono and on the clock of the frames
clips.py      which frames an expert gets, how large, and where a clip of the video ends
"""
