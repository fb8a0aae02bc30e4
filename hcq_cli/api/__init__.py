"""The verbs as functions: what the commands do, to call.

    import hcq_cli as hcq

    workspace = hcq.Workspace(".hcq")
    hcq.extract(workspace, ["videos/"])
    hcq.train(workspace, "captions.jsonl")
    hcq.encode(workspace)
    hcq.build_index(workspace)
    for hit in hcq.Searcher(workspace).text("a man cooking").hits:
        print(hit.rank, hit.score, hit.path)

Every function takes the workspace first, then what the verb is about; what it does not name has the place that the
verb before left it in. Results are dataclasses, errors are `HcqError` with a hint, and nothing is printed: who wants
to see how far a verb has come passes a `progress` (progress.py). Heavy libraries are imported when a verb runs.

Files, in the order of the verbs: extraction, training or fitting (with captions, without) or adapting (captions for
a fitted model), encoding, indexing, searching, answers (as JSON), pages (to look at), serving (in a browser); then
what joins several of them: updating, watching (updating after every change), finding (all of it, from a folder to the
answer); then planning (what extraction would take), evaluation, features (looking into a store and taking videos
out), and progress (what all of them report to).
"""

from hcq_cli.cores import yield_while_waiting

yield_while_waiting()  # here, before any verb loads torch
