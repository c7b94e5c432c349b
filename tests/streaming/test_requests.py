"""A request is answered from all that stands above it in its file and nothing below: cut the file below a request, and
the answer to it is the same.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freshflow.config.schema import JobConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
USERS, EVENTS = 7, 120
START_MS = 1_750_000_000_000
MINUTE_MS = 60_000

partitions = pytest.mark.parametrize("partitions", [1, 3])


def visits_with_requests() -> list[Json]:
    """Before each event its user asks for all there is, and for all that is new; half the items are shared."""
    lines: list[Json] = []
    for n in range(EVENTS):
        user, ts = f"u{(n * n + n // 3) % USERS}", START_MS + n * MINUTE_MS
        item = f"shared-{n * 5 % 11}" if n % 2 else f"only-{n}"
        ask = {"type": "request", "user_id": user, "ts": ts, "k": 200}
        lines.append({**ask, "request_id": f"all-{n}"})
        lines.append({**ask, "request_id": f"new-{n}", "exclude_seen": True})
        lines.append({"type": "view", "user_id": user, "item_id": item, "ts": ts})
    return lines


@pytest.fixture
def answers(tmp_path: Path, run_here: Callable[..., JobStats]) -> Callable[..., dict[str, Json]]:
    """What a job answers to the requests among lines, by request id."""

    def answers(lines: list[bytes], **job: int) -> dict[str, Json]:
        (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
        places = JobUrls(str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
        run_here(places, clock=lambda: 0, job=JobConfig(**job))
        lists = map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines())
        return {one["request_id"]: one for one in lists if one["cause"] == "request"}

    return answers


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@partitions
def test_an_answer_knows_its_users_events_above_it_and_no_event_below_it(
    partitions: int, batch_size: int, answers: Callable[..., dict[str, Json]]
) -> None:
    events = visits_with_requests()
    found = answers([json.dumps(e).encode() for e in events], partitions=partitions, batch_size=batch_size)
    assert len(found) == 2 * EVENTS
    touched: set[str] = set()
    by_user: dict[str, set[str]] = {f"u{user}": set() for user in range(USERS)}
    for event in events:
        mine = by_user[event["user_id"]]
        if event["type"] == "view":
            mine.add(event["item_id"])
            touched.add(event["item_id"])
            continue
        listed = {item["item_id"] for item in found[event["request_id"]]["items"]}
        assert listed <= touched
        assert listed & mine == (set() if event.get("exclude_seen") else mine)


@pytest.mark.parametrize("batch_size", [7, 256])
@partitions
def test_what_stands_below_a_request_does_not_change_its_answer(
    partitions: int,
    batch_size: int,
    tmp_path: Path,
    simulate: Callable[..., Counter[str]],
    answers: Callable[..., dict[str, Json]],
) -> None:
    simulate("shop.jsonl", events=250, users=20, items=30, requests=1.0, days=2)
    lines = (tmp_path / "shop.jsonl").read_bytes().splitlines()
    asked = [n for n, line in enumerate(lines, start=1) if line.startswith(b'{"type":"request"')]
    whole = answers(lines, partitions=partitions, batch_size=batch_size)
    for n in asked[31::61]:
        request = json.loads(lines[n - 1])["request_id"]
        cut = answers(lines[:n], partitions=partitions, batch_size=batch_size)
        assert without_scores(cut[request]) == without_scores(whole[request])
        assert scores(cut[request]) == pytest.approx(scores(whole[request]), rel=1e-9)  # a sum's order may differ


def scores(answer: Json) -> list[float]:
    return [item["score"] for item in answer["items"]]


def without_scores(answer: Json) -> Json:
    return answer | {"items": [{**item, "score": 0} for item in answer["items"]]}
