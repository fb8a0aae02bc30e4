"""Engines that run hcq's work on more machines than one. The core imports none of them; each is an extra.

In: jobs, as `extraction.executor` has them, parts of a code file, or code files; or the text of a query as vectors.
Out: outcomes, or the best k. What travels are ids, hashes, paths and seconds, or a few kilobytes of a query: videos,
features, codes and index lie on a file system that all machines see under the same names, and are read and written
where the workers are.

    claims.py         what processes claim of a node: processors, GPUs, memory
    ray_cluster.py    reaching a Ray cluster, and seeing that its nodes can do the work, before anything begins
    ray_pool.py       jobs to workers on the nodes, and again where a worker or a node dies, or a worker hangs
    ray_worker.py     what runs on the nodes: workers, and the networks of a node
    ray_search.py     the actors that search an index, a group of its segments each
    ray_serving.py    `hcq serve --on ray`: its page and API by a process on every node
    ray_executor.py   the executor of `hcq extract --on ray`
    ray_building.py   `hcq encode --on ray` and `hcq index build --on ray`: a part of the codes, or a code file, a job
"""
