"""A workspace at an address that fsspec knows (`hcq -w s3://bucket/ws`), and its mirror on this machine.

In: an address. Out: a local folder, which is the workspace that a verb works in. What is newer there is fetched
before the verb, and what is new here is put there after it.

    s3://bucket/ws/
      manifest-00000007.json      the newest generation: every file of the workspace, its SHA-256 and its object
      files/00000007-SHA256       what files hold: immutable, and there before a generation names them
      parts/features/incoming/…   what shares and workers of a cluster have finished: in no generation yet

Read in this order:

- address: files at the address: whole or not at all, and a generation created exclusively
- mirror_files: what lies in a mirror, and what of it is the same at its address
- remote_generations: what each generation there names, and how the next one is published
- mirror: what is fetched and put, and when which of two writers is refused
- nodes: how a path of a mirror is told to other machines
"""
