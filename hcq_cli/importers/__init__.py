"""What others have made, brought into hcq's own formats: `hcq import`.

MMT (Multi-modal Transformer, Gabeur et al., ECCV 2020, https://github.com/gabeur/mmt) published the features,
captions and splits that HCQ (Wang et al., WWW 2022, arXiv 2202.03384) was trained on. In goes its tar archive or the
folder of it; out come a feature store and caption files. Files, in the order to read them:

- mmt.py: the import, from the first file to the report
- mmt_source.py: the archive or the folder, read once from front to back
- mmt_splits.py: the data sets, their splits and which captions count in them; caption files
- mmt_video_reader.py: a video's file is opened in a child process, which it may hang or crash without harm
- mmt_video_file.py: what such a file says
- mmt_number_table.py: a pickle of names and numbers, read without unpickling

official/ is the published implementation of HCQ: its checkpoints become ours, with its quirks. Their pickles are read
by restricted_unpickler.py, in a child process.
"""
