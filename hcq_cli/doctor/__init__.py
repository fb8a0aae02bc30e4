"""Finds out whether everything hcq stands on works here; `hcq doctor` prints it."""
