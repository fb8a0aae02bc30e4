"""What a program that speaks with a language model may ask: read-only tools over named workspaces (`hcq mcp`).

In: calls of the Model Context Protocol (https://modelcontextprotocol.io), through its own Python SDK, on stdin. Out:
answers on stdout. Names of files, captions and transcripts come from strangers: they are cut in length, shown without
what steers, and marked as data, so that nobody takes an instruction in them for the user's.

    tools.py   the tools, and what they tell
"""
