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

Files, in the order of the verbs:

    extraction
    training, fitting, adapting   with captions, without, captions for a fitted model
    checkpoints                   which model a verb means, and which ones there are
    encoding, indexing, searching; index_sources, searched   what an index is made of, what a search opens
    answers, opening              an answer as JSON and as a page, and in a notebook
    clips                         moments as files, and a player
    serving, agents               a page in a browser, tools for agents
    updating, watching, finding   what joins several verbs: once, after every change, from a folder to the answer
    planning, reporting           what extraction would take; what is in a workspace
    evaluation, publishing        how good a model is; a folder or a page of the hub for others, with a model_card
    features                      looking into a store, and taking videos out
    duplicates                    copies and shared parts
    words                         what an index knows of what is said and shown
    progress                      what all of them report to
"""
