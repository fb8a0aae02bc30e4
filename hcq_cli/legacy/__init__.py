"""Checkpoints that are pickles: the one place where one is opened, and nothing in it is ever run."""
