"""An event through the real graph, between files of its own: in comes one, out must come a list."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import structs

from freshflow.config.schema import OURS, Config
from freshflow.events.model import CONTROL_TYPES
from freshflow.preflight.findings import Finding, bad, good
from freshflow.state.backend import Keeping
from freshflow.streaming.job import Places, assemble, run_flow
from freshflow.streaming.monitoring.progress import Progress

__all__ = ["canary"]


def canary(config: Config, clock: Callable[[], int]) -> Iterator[Finding]:
    """Whether an event and a request of a user of our own give a list with the item of the event."""
    liked = [name for name, weight in config.events.weights.items() if weight > 0 and name not in CONTROL_TYPES]
    if not liked:
        yield bad(
            "canary", "no type of event has a weight above 0, so nothing is ever learned: set one in [events.weights]."
        )
        return
    ours = structs.replace(config, events=structs.replace(config.events, format=OURS, map={}))
    event = {"type": liked[0], "user_id": "canary", "item_id": "canary", "ts": clock()}
    request = {"type": "request", "user_id": "canary", "request_id": "canary", "ts": clock()}
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="freshflow-check-") as folder:
        places = Places(f"{folder}/events.jsonl", f"{folder}/lists.jsonl")
        Path(places.input).write_bytes(b"\n".join(map(msgspec.json.encode, (event, request))))
        flow = assemble(places, ours, Progress(), lambda: False, clock=clock, keeping=Keeping())
        run_flow(flow, ours, None)
        lists = Path(places.output).read_bytes().splitlines() if Path(places.output).exists() else []
    answers = [one for one in map(msgspec.json.decode, lists) if one.get("request_id") == "canary"]
    if answers and "canary" in [item["item_id"] for item in answers[0]["items"]]:
        yield good("canary", f"an event became a list in {time.monotonic() - began_s:.1f} s, the start included")
    else:
        yield bad(
            "canary", f"an event of type {liked[0]} and a request gave no list: look at [events] and ranker.model."
        )
