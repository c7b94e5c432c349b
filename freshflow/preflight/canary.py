"""Canary: one event goes through the real graph between temporary files, and must become a list."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import structs

from freshflow.config.registry import NATIVE_FORMAT
from freshflow.config.schema import Config
from freshflow.events.model import CONTROL_TYPES
from freshflow.io.findings import Finding, failed, passed
from freshflow.state.backend import StateBackend
from freshflow.streaming.job import JobUrls, assemble, run_flow
from freshflow.streaming.monitoring.progress import JobStats


def check_canary(config: Config, clock: Callable[[], int]) -> Iterator[Finding]:
    """Yield a finding on a job over one event and one request: the list must have the event's item."""
    positive_types = [
        name for name, weight in config.events.weights.items() if weight > 0 and name not in CONTROL_TYPES
    ]
    if not positive_types:
        yield failed(
            "canary", "no type of event has a weight above 0, so nothing is ever learned: set one in [events.weights]."
        )
        return
    canary_config = structs.replace(config, events=structs.replace(config.events, format=NATIVE_FORMAT, map={}))
    event = {"type": positive_types[0], "user_id": "canary", "item_id": "canary", "ts": clock()}
    request = {"type": "request", "user_id": "canary", "request_id": "canary", "ts": clock()}
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="freshflow-check-") as folder:
        endpoints = JobUrls(f"{folder}/events.jsonl", f"{folder}/lists.jsonl")
        Path(endpoints.input).write_bytes(b"\n".join(map(msgspec.json.encode, (event, request))))
        flow = assemble(endpoints, canary_config, JobStats(), lambda: False, clock=clock, state_backend=StateBackend())
        run_flow(flow, canary_config, None)
        lists = Path(endpoints.output).read_bytes().splitlines() if Path(endpoints.output).exists() else []
    responses = [
        published_list
        for published_list in map(msgspec.json.decode, lists)
        if published_list.get("request_id") == "canary"
    ]
    if responses and "canary" in [item["item_id"] for item in responses[0]["items"]]:
        yield passed("canary", f"an event became a list in {time.monotonic() - started_s:.1f} s, the start included")
    else:
        yield failed(
            "canary",
            f"an event of type {positive_types[0]} and a request gave no list: look at [events] and ranker.model.",
        )
