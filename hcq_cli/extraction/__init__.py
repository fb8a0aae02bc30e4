"""From video files to the feature store, every video decoded once. Jobs go in and features are written, whatever runs
them: worker processes of this machine, each killed at a deadline, or another executor.

In: the videos that `media.inputs` finds, the names of experts, `ExtractionOptions`. Out: features in the store, and
an `ExtractReport`. In the order in which to read it:

    options.py            how to extract, and the experts that are asked
    executor.py           a job, how it may end, and the protocol of whatever runs jobs
    plan.py               the job that is left to do with a file, or how it has ended without
    dry_run.py            `--dry-run`: what the plan says of all files
    extract.py            the one loop of a run or a share: the plan judges, the executor runs, the report counts
    report.py             that report
    local.py              the executor on this machine: a pool of worker processes, as their parent sees them
    worker.py             the worker process itself; `extract_job` is what any executor does with a job
    pipeline.py           one video: decoded once, each clip shown to every expert, tokens joined
    inference.py          networks in a process of their own, as the parent and the workers see it
    inference_server.py   that process: rows of many videos in one batch
    vanished.py           ids that leave the store after a run: deleted files, renamed ones, second ids of one file

A video is an id and a path (`Inputs.videos`), then a `Job`, then `VideoFeatures` on the way into the store, which
holds `VideoRecord`s. What is known of its file, `VideoFacts`, is the same in all three.

A child process loads neither the plan nor the writer of the store. How one is run: hcq_cli/process.py.
"""
