"""A pipeline in one process publishes the same lists as the dataflow."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from freshflow.config.schema import Config, ExploreConfig, JobConfig, RulesConfig, UsersConfig
from freshflow.engine.pipeline import Pipeline
from freshflow.engine.routing import Topology
from freshflow.events.model import Interaction, Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.outputs.records import Output, RelatedItems, encode, encode_related
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats
from tests.builders.streams import ORIGIN, START_MS, config, read, stream, view

BATCH_SIZE = 100


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulate: Callable[..., Counter[str]]) -> Path:
    """The folder that the test runs in, with a simulated shop."""
    monkeypatch.chdir(tmp_path)
    simulate("events.jsonl", events=700, users=60, items=60, searches=0.2, embeddings=4)
    return tmp_path


def pipeline_outputs(settings: Config, path: Path) -> list[Output]:
    """Read a file in batches, process them in a pipeline, and return its outputs."""
    has_anonymous_users = settings.users.guests
    pseudonyms = Pseudonyms.from_config(settings.privacy, has_anonymous_users=has_anonymous_users)
    parser = EventParser(settings.events, pseudonyms, has_anonymous_users=has_anonymous_users)
    pipeline = Pipeline(settings, lambda: 0, publishes_related=True)
    origin = Origin("file", path.name)
    records = list(enumerate(path.read_bytes().splitlines(), start=1))
    outputs: list[Output] = []
    for start in range(0, len(records), settings.job.batch_size):
        batch = tuple(records[start : start + settings.job.batch_size])
        events, _ = parser.parse(RawBatch(origin, batch, 0))
        outputs += pipeline.process(origin, events, batch[-1][0]).outputs
    return outputs + pipeline.finish().outputs


def values_by_key(records: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, list[bytes | None]]:
    """Return the values of each key, in order: partitions write to a file in any order."""
    values: dict[bytes, list[bytes | None]] = defaultdict(list)
    for key, value in records:
        values[key].append(value)
    return values


def written(path: Path, key: str) -> dict[bytes, list[bytes | None]]:
    """Return the values of each key in a file of lists or related items."""
    records = []
    for line in path.read_bytes().splitlines():
        record = msgspec.json.decode(line)
        is_deletion = "key" in record
        records.append((record["key" if is_deletion else key].encode(), None if is_deletion else line))
    return values_by_key(records)


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("sections", ["plain", "everything"])
def test_pipeline_publishes_what_the_dataflow_publishes(
    folder: Path, run_here: Callable[..., JobStats], partitions: int, sections: str
) -> None:
    job = JobConfig(partitions=partitions, batch_size=BATCH_SIZE)
    settings = Config(job=job)
    if sections == "everything":
        rules = RulesConfig(per_category=5, diversity=0.2, fresh=2)
        settings = Config(job=job, rules=rules, explore=ExploreConfig(share=0.05), users=UsersConfig(guests=True))
    urls = JobUrls("events.jsonl", "lists.jsonl", related="related.jsonl")
    run_here(urls, clock=lambda: 0, **{name: getattr(settings, name) for name in settings.__struct_fields__})
    outputs = pipeline_outputs(settings, folder / "events.jsonl")
    lists = values_by_key(encode(one) for one in outputs if not isinstance(one, RelatedItems))
    related = values_by_key(encode_related(one) for one in outputs if isinstance(one, RelatedItems))
    assert lists == written(folder / "lists.jsonl", "user_id")
    assert related == written(folder / "related.jsonl", "item_id")
    assert len(lists) > 30 and len(related) > 10


def test_steps_go_to_the_owner_and_remote_events_to_the_other_partitions() -> None:
    settings, events = config(3), stream(1, 300)
    pipeline = Pipeline(settings, lambda: 0)
    pipeline.process(ORIGIN, events, events[-1].position)
    owners = Counter(Topology.of_partitions(3).owner_of(one.user_id) for one in events if isinstance(one, Interaction))
    reports = pipeline.reports()
    assert [report.counts["events"] for report in reports] == [owners[number] for number in range(3)]
    assert all(report.counts["updates"] for report in reports)


def test_event_ahead_of_its_stream_waits_and_is_rejected_at_the_end() -> None:
    events = [*(view(n, f"u{n}", "a") for n in range(1, 9)), view(9, "late", "a", after_ms=10**11)]
    pipeline = Pipeline(config(), lambda: 0)
    output = pipeline.process(ORIGIN, [*events, view(10, "u1", "b"), view(11, "u2", "b"), view(12, "u3", "b")], 12)
    end = pipeline.finish()
    rejected = [*output.rejected, *end.rejected]
    assert [one.position for one in rejected] == [9]
    assert {one.user_id for one in read([*output.outputs, *end.outputs])} == {f"u{n}" for n in range(1, 9)}
    assert pipeline.event_ts == START_MS + 12_000


def test_pipeline_without_skew_checks_takes_every_event_at_once() -> None:
    pipeline = Pipeline(config(), lambda: 0, checks_clock_skew=False)
    (published,) = pipeline.process(ORIGIN, [view(1, "u", "a", after_ms=10**11)], 1).outputs
    assert read([published])[0].user_id == "u"
