"""What sees and hears: an expert turns a `Clip`, a piece of a video, into `Tokens`, vectors with their times.

In the order to read: base.py (all that the author of an expert needs), contract.py (its promises, put to the test),
registry.py (which experts there are, by name), classic/ (hand-made descriptors), neural/ (pretrained networks),
scene.py (shots, by either). Nothing here imports hcq_cli: an expert can be used without it.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as in hcq_cli, without which an expert can be used
