"""One thin file a command: parse, call one function of api/, print. Heavy imports stay inside the functions.

In the order to read: shared (options that every command takes; how one is registered), then the verbs: extract with
its extraction_report, train, fit, encode, index, query with its answers, serve and its visits, mcp, update, find;
what looks into things: plan, report, captions, words, dedupe, eval, features; and what is about this machine: demo,
doctor, experts, models, recipes, bench, import_.
"""
