"""One thin file a command: parse, call one library function, print. Heavy imports stay inside the functions."""
