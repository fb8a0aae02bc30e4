"""From video files to the feature store, every video decoded once, in child processes with a deadline.

    extract.py            what is finished is skipped; what is left goes to the workers; report.py is what it tells
    plan.py               what the store knows of a file, and so what is left to do
    local.py, child.py    the worker processes as their parent sees them
    worker.py             the worker process itself: one job a line (executor.py)
    pipeline.py           one video: decoded once, each clip shown to every expert, tokens joined
    inference.py          the process that runs the networks, which inference_server.py is; remote.py asks it

planning.py is `--dry-run`.
"""
