"""Measurements: how fast a search is on this machine, and what it is compared with."""
