"""Records with several events: the job makes of them what it makes of the same events in records of their own."""

import json
from itertools import pairwise

import numpy as np
import pytest

from freshflow.config.schema import Config, JobConfig, UsersConfig
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.replay import evaluate_job
from freshflow.evaluation.scores import SCORE_KINDS
from freshflow.events.model import Interaction
from freshflow.streaming.job import JobUrls
from freshflow.users.store import UserStore

START_MS = 1_661_200_000_000
TYPES = {"clicks": "click", "carts": "cart", "orders": "purchase"}


def sessions(seed=3, count=120):
    """Lines of OTTO: sessions of 1 to 29 events, several of one user among them; some short ones are sent twice."""
    random = np.random.default_rng(seed)
    lines = []
    for n in range(count):
        aids = np.minimum(random.geometric(0.08, random.integers(1, 30)), 60).tolist()
        times = [START_MS + 600_000 * n + 7_001 * at for at in range(len(aids))]
        types = random.choice(list(TYPES), len(aids), p=(0.8, 0.15, 0.05)).tolist()
        events = [{"aid": a, "ts": ts, "type": t} for a, ts, t in zip(aids, times, types, strict=True)]
        line = {"session": int(random.integers(25)), "events": events}
        lines += [line, line] if len(aids) in (3, 5) else [line]
    return lines


@pytest.fixture
def files(tmp_path):
    """A file of sessions, and one of their events, each in a record of our shape."""
    lines = sessions()
    single = [
        {
            "type": TYPES[e["type"]],
            "user_id": s["session"],
            "session_id": s["session"],
            "item_id": e["aid"],
            "ts": e["ts"],
        }
        for s in lines
        for e in s["events"]
    ]
    paths = tmp_path / "sessions.jsonl", tmp_path / "events.jsonl"
    for path, records in zip(paths, (lines, single), strict=True):
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return paths


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(("limit", "every"), [(None, 1), (333, 2)])
def test_an_evaluation_scores_them_as_if_each_had_a_record(files, partitions, limit, every):
    config = Config(job=JobConfig(partitions=partitions))
    several, single = (EvaluationStream(str(path), config, max_events=limit, score_every=every) for path in files)
    ours, theirs = (evaluate_job(stream, lambda: 0.0) for stream in (several, single))
    assert several.n_events == single.n_events > 300
    assert several.counts["duplicate"] == single.counts["duplicate"] > 0
    for kind in SCORE_KINDS:
        assert ours.scores.ranks[kind] == theirs.scores.ranks[kind], kind


def test_a_job_publishes_the_same_lists_each_with_an_id_and_a_place_of_its_own(files, run_here, tmp_path):
    published = []
    for path in files:
        output = tmp_path / f"{path.stem}.lists.jsonl"
        run_here(JobUrls(str(path), str(output)))
        published.append([json.loads(line) for line in output.read_bytes().splitlines()])
    several, single = published
    assert [(one["user_id"], one["cause"], one["items"]) for one in several] == [
        (one["user_id"], one["cause"], one["items"]) for one in single
    ]
    assert len({one["list_id"] for one in several}) == len(several)
    assert any(one["cause"] == "refresh" and one["source"].get("event") for one in several)
    places = [(one["source"]["line"], one["source"].get("event", 0)) for one in several]
    assert all(before <= after for before, after in pairwise(places))


def purchase(position, count, event_id="order 1", weight=5.0):
    """A record with so many events."""
    return [
        Interaction(position, "purchase", "u", f"i{n}", START_MS, weight, event_id=event_id, nth=n)
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 40])
def test_a_record_that_is_sent_twice_is_known_however_many_events_it_has(count):
    bucket = UserStore(UsersConfig(), 9)
    assert len(bucket.process(purchase(1, count))) == count
    assert bucket.process(purchase(2, count)) == []
    assert bucket.process([*purchase(3, count), *purchase(4, count, "order 2")])[0].event.position == 4
    assert bucket.counts["duplicate"] == 2 * count


def test_records_that_count_for_nothing_do_not_hide_the_next():
    bucket = UserStore(UsersConfig(), 9)
    ignored, *counted = purchase(1, 3, weight=1.0)
    ignored = Interaction(1, "hover", "u", "i", START_MS, 0.0, event_id="order 1")
    assert len(bucket.process([ignored, *counted])) == 2
    assert bucket.process([ignored, *counted]) == []


def test_a_record_takes_the_place_of_one_event_among_those_that_are_remembered():
    bucket = UserStore(UsersConfig(), 9)
    bucket.process(purchase(1, 40))
    bucket.process(purchase(2, 40, "order 2"))
    assert bucket.process(purchase(3, 40)) == []
