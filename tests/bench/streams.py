"""Streams to measure on: a shop whose users and items grow all along, and files of events that are given."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["growing", "write_growing"]

START_MS = 1_700_000_000_000
STEP_MS = 400  # between two events of the shop
VISIT = 5  # events of a user, all in one visit
PRESENT = 256  # users who are there at a time, so that visits overlap
GROUPS = 40  # items of one kind, among which a visit stays
CHUNK = 50_000


def growing(events: int, *, events_per_item: int = 25, seed: int = 1) -> Iterator[tuple[str, str, int]]:
    """Users, items and times of `events` events: a new user every `VISIT`, a new item every `events_per_item`.

    A visit stays among items of one kind; newer items are looked at more, and so are a few of each kind.
    """
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 1 << 30, PRESENT)
    left = random.integers(1, VISIT + 1, PRESENT)
    names = np.arange(PRESENT)
    arrived = PRESENT
    for begun in range(0, events, CHUNK):
        size = min(CHUNK, events - begun)
        who = random.integers(0, PRESENT, size).tolist()
        within = np.minimum(random.geometric(0.15, size) - 1, GROUPS - 1).tolist()
        fresh = random.power(3, size).tolist()
        for n, (slot, place, share) in enumerate(zip(who, within, fresh, strict=True)):
            if left[slot] == 0:
                left[slot], names[slot] = VISIT, arrived
                known_kinds = 1 + (begun + n) // events_per_item // GROUPS
                kinds[slot] = int(share * known_kinds)
                arrived += 1
            left[slot] -= 1
            known = 1 + (begun + n) // events_per_item
            yield f"u{names[slot]}", f"i{(int(kinds[slot]) * GROUPS + place) % known}", START_MS + STEP_MS * (begun + n)


def write_growing(path: Path, events: int, *, events_per_item: int = 25) -> None:
    """Write such a stream to a file, unless it is there."""
    if path.exists():
        return
    with path.with_suffix(".part").open("w") as file:
        for user, item, ts in growing(events, events_per_item=events_per_item):
            file.write(json.dumps({"type": "view", "user_id": user, "item_id": item, "ts": ts}) + "\n")
    path.with_suffix(".part").rename(path)
