"""What people ask of videos in general: generic sentences, which stand in for captions.

It tells a fitted model which videos are near to everything that is asked (`model.hubness`), and which scores a query
reaches that has nothing to do with a collection. Drawn up by combining; no data set is behind it.
"""

from __future__ import annotations

SUBJECTS = """a man, a woman, two people, a group of friends, a child, a baby, an old man, a young woman, a family,
a crowd, a dog, a cat, a bird, some animals, a horse, a fish, an insect, a car, a truck, a boat, a plane, a train,
a machine, a robot, a cartoon character, a musician, a singer, an athlete, a worker, a teacher, a soldier, a doctor,
a cook, a dancer, a reporter, a player, somebody, a hand, a large object, a small object"""
DOINGS = """walking, running, talking to the camera, eating something, drinking, cooking food, playing a game,
playing music, singing a song, dancing, swimming, driving, riding, flying, falling down, jumping, climbing, sleeping,
sitting still, standing around, working, repairing something, building something, cleaning, washing, painting,
writing, reading, laughing, crying, shouting, fighting, playing with a ball, practising a sport,
showing how something is made, explaining something, moving slowly, moving fast, turning around,
being filmed up close"""
PLACES = """in a kitchen, in a living room, in an office, in a garden, in a park, in a forest, in the mountains,
on a beach, at sea, in a river, on a street, in a city, in a village, in a shop, in a hall, on a stage, in a stadium,
in a studio, in a car, at night, in the snow, in the rain, in the sky, on a farm, at school, in a workshop, indoors,
outdoors"""


def generic_sentences(count: int = 512) -> list[str]:
    """So many different sentences, the same ones each time: a subject, what it does, and where."""
    subjects, doings, places = (
        [part.strip() for part in parts.replace("\n", " ").split(",")] for parts in (SUBJECTS, DOINGS, PLACES)
    )
    found: dict[str, None] = {}
    at = 0
    while len(found) < count:
        # Steps without a common divisor with the lengths, shifted each round: no two parts always come together.
        subject = subjects[at * 7 % len(subjects)]
        doing = doings[(at * 11 + at // len(doings)) % len(doings)]
        found[f"{subject} {doing} {places[(at * 13 + at // len(places)) % len(places)]}"] = None
        at += 1
    return list(found)
