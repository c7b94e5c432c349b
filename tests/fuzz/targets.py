"""What is fuzzed: functions of bytes that raise only where FreshFlow does not keep its word.

Whatever the bytes are, they become an event, a refusal, or a `FreshFlowError` whose message is a sentence.
"""

import gzip
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import msgspec

from freshflow._framing import encode_frame
from freshflow._safe_pickle import load_plain
from freshflow._state_tables import ALIGNMENT_BYTES, SnapshotFormat, encode_lengths
from freshflow.config.loader import load_config
from freshflow.config.schema import Config, EventsConfig, ItemsConfig, JobConfig, RefreshConfig, UsersConfig
from freshflow.engine import snapshot
from freshflow.engine.messages import EventBatch
from freshflow.engine.partition import Partition
from freshflow.engine.routing import partition_of
from freshflow.engine.snapshot import PARTITION_SNAPSHOT
from freshflow.errors import FreshFlowError
from freshflow.events.fields import MAX_DIMENSIONS, MAX_ID_CHARS, MAX_IDS
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import Event, Origin, RawBatch, Rejected
from freshflow.events.parser import EventParser
from freshflow.events.timestamps import EARLIEST_MS, LATEST_MS
from freshflow.io.files.line_reader import MAX_LINE_BYTES, LineSplitter
from freshflow.io.files.reader import BATCH_BYTES, FILE_ENDINGS, EventFile
from freshflow.io.files.source import FileSource
from freshflow.io.kafka.client import parse_kafka_servers, parse_kafka_url
from freshflow.outputs.dead_letters import encode_dead_letter
from freshflow.outputs.records import encode_all
from freshflow.state.backend import StateBackend
from freshflow.state.manifest import MANIFEST_MAGIC
from freshflow.streaming.messages import PartitionMessage
from freshflow.users.store import USER_SNAPSHOT, UserStore

MAX_BYTES = 65_536
ORIGIN = Origin("topic", "events", 3)
# Small tables, so that they are full soon.
CONFIG = Config(
    events=EventsConfig(max_bytes=MAX_BYTES),
    job=JobConfig(partitions=2),
    items=ItemsConfig(max=100, neighbours=8),
    users=UsersConfig(max=64, history=20),
    refresh=RefreshConfig(users=32),
)
PARSER = EventParser(CONFIG.events)
DEAD_LETTER_CODES = {
    *("empty", "too_large", "not_utf8", "not_json", "not_an_object", "bad_row"),
    *("unknown_type", "missing_field", "wrong_type", "not_finite", "bad_time"),
}
SNAPSHOT, CHANGELOG = f"{'a' * 16}-1.snapshot", f"{'a' * 16}-2.changelog"


@contextmanager
def _sentences(*, is_forged: bool = False) -> Iterator[None]:
    """Let a `FreshFlowError` pass that is a sentence, and only of what is forged one for want of memory."""
    try:
        yield
    except FreshFlowError as error:
        assert str(error).endswith("."), str(error)
        assert is_forged or not isinstance(error.__cause__, MemoryError)


@cache
def _folder() -> Path:
    room = Path("/dev/shm")  # faster than a disk, where there is one
    kept = tempfile.TemporaryDirectory(prefix="freshflow-fuzz-", dir=room if room.is_dir() else None)
    _kept.append(kept)
    return Path(kept.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def check_event(event: Event) -> None:
    """An event is within all bounds, and everything it says can be written again."""
    msgspec.json.encode(event)
    said = msgspec.structs.asdict(event)
    assert EARLIEST_MS <= event.ts_ms < LATEST_MS
    for name in ("user_id", "item_id", "event_id", "session_id", "request_id"):
        assert said.get(name) is None or 0 < len(said[name]) <= MAX_ID_CHARS
    for name, most in (("items", MAX_IDS), ("categories", MAX_IDS), ("embedding", MAX_DIMENSIONS)):
        assert len(said.get(name) or ()) <= most
    if "user_id" in said:
        assert 0 <= partition_of(said["user_id"], 7) < 7


def _parsed(raws: list[bytes], columns: tuple[str, ...] | None = None) -> list[Event]:
    """The events among records, each of which gives some, is a dead letter, or has a type that is passed over."""
    passed_over = PARSER.n_unknown_type.total()
    events, rejected = PARSER.parse(RawBatch(ORIGIN, tuple(enumerate(raws)), 0, columns))
    places = {(event.position, event.nth) for event in events}
    taken, refused = {position for position, _ in places}, {refusal.position for refusal in rejected}
    assert len(places) == len(events)
    assert len(refused) == len(rejected)
    assert not taken & refused
    assert PARSER.n_unknown_type.total() - passed_over >= len(raws) - len(taken | refused)
    for event in events:
        check_event(event)
    for refusal in rejected:
        _check_refusal(refusal)
    return events


def _check_refusal(refusal: Rejected) -> None:
    assert refusal.code in DEAD_LETTER_CODES
    assert refusal.reason.endswith(".")
    assert len(refusal.reason) < 1000
    for most in (None, 5):
        msgspec.json.decode(encode_dead_letter(refusal, 0, most)[1] or b"")


def records(content: bytes) -> None:
    """A record of JSON; the fast reader says what the careful one does."""
    events, plainly = _parsed([content]), PARSER._parse_plain(0, content)
    assert plainly is None or [plainly] == events == PARSER._parse_strict(0, content, RawBatch(ORIGIN, (), 0))


def rows(content: bytes) -> None:
    """A header of CSV in the first line, and a row in the others."""
    header, _, row = content.partition(b"\n")
    _parsed([row], tuple(header.decode("utf-8", "replace").split(",")))


def files(content: bytes) -> None:
    """A file whose ending the first byte says, packed well if that is an upper-case letter."""
    endings = sorted(FILE_ENDINGS)
    first, body = content[:1] or b"a", content[1:]
    ending = endings[first[0] % len(endings)]
    path = _folder() / f"events{ending}"
    path.write_bytes(gzip.compress(body, 1) if ending.endswith(".gz") and first.isupper() else body)
    with _sentences():
        opened = EventFile(str(path), MAX_BYTES, create_layout_finder(CONFIG.events))
        lines: list[bytes] = []
        try:
            while (batch := opened.read(64)) is not None:
                assert sum(len(raw) for _, raw in batch) <= BATCH_BYTES + MAX_LINE_BYTES
                lines += [raw for _, raw in batch]
                _parsed([raw for _, raw in batch], opened.columns)
        finally:
            opened.close()
        if ending in (".jsonl", ".json", ".ndjson"):
            splitter = LineSplitter()
            assert lines == [line for line in splitter.feed(body) + splitter.finish() if line.strip()]


def positions(content: bytes) -> None:
    """Where a file was read up to, as it was stored, of a file of ten lines."""
    path = _folder() / "positions.jsonl"
    if not path.exists():
        path.write_bytes(b"{}\n" * 10)
    with _sentences():
        source = FileSource(str(path), 5, max_bytes=MAX_BYTES, clock=lambda: 0, should_stop=lambda: False)
        part = source.build_part("source", str(path), content)
        try:
            part.next_batch()
        except StopIteration:
            pass
        finally:
            part.close()


def urls(content: bytes) -> None:
    """The address of a topic, or of a cluster."""
    url = content.decode("utf-8", "surrogateescape")
    for parse in (parse_kafka_url, parse_kafka_servers):
        with _sentences():
            parsed = parse(url)
            servers, topic = parsed if isinstance(parsed, tuple) else (parsed, "events")
            assert re.fullmatch(r"[\x21-\x7e]+", servers + topic)
            assert "/" not in servers + topic


def configurations(content: bytes) -> None:
    """A TOML file, and after a NUL byte variables of the environment, one a line."""
    toml, _, variables = content.partition(b"\0")
    path = _folder() / "freshflow.toml"
    path.write_bytes(toml)
    lines = variables.decode("utf-8", "surrogateescape").splitlines()
    environment = {name: value for line in lines if "=" in line for name, _, value in [line.partition("=")]}
    with _sentences():
        repr(load_config(path, environment))


def _sealed(content: bytes) -> bytes:
    """The content in frames with sums that are right; two bytes before each say how long it is."""
    made, at = [], 0
    while at < len(content):
        start = at + 2
        at = start + int.from_bytes(content[at:start], "little")
        made.append(encode_frame(content[start:at]))
    return b"".join(made)


def users(content: bytes) -> None:
    """A snapshot of users; after an odd byte, one of a header and a column whose sums are right."""
    with _sentences():
        UserStore(CONFIG.users, 100).load_snapshot(_snapshot_of(USER_SNAPSHOT, content))


def sealed_snapshot(snapshot_format: SnapshotFormat, parts: list[bytes]) -> bytes:
    """A snapshot with right sums, whatever its parts are."""
    made = [snapshot_format.version_line, encode_lengths(parts), *parts]
    return b"".join(piece for part in made for piece in (part, bytes(-len(part) % ALIGNMENT_BYTES)))


def _snapshot_of(snapshot_format: SnapshotFormat, content: bytes) -> bytes:
    if content[:1] and content[0] % 2:
        return sealed_snapshot(snapshot_format, [content[1:], bytes(64)])
    return snapshot_format.version_line + content[1:]


def partitions(content: bytes) -> None:
    """A snapshot of a partition; after an odd byte, one of a header and a column whose sums are right."""
    with _sentences(is_forged=bool(content[:1]) and content[0] % 2 == 1):
        snapshot.load(_snapshot_of(PARTITION_SNAPSHOT, content), CONFIG, lambda: 0)


def manifests(content: bytes) -> None:
    """What Bytewax has stored of a key: which files make up its state."""
    folder = _folder() / "states"
    if not folder.exists():
        folder.mkdir()
        (folder / SNAPSHOT).write_bytes(b"base")
        (folder / CHANGELOG).write_bytes(encode_frame(msgspec.msgpack.encode(EventBatch(0, ORIGIN, 0, [], 0))))
    with _sentences():
        kept = StateBackend(is_enabled=True, folder=folder).open_state(MANIFEST_MAGIC + content, EventBatch, {})
        list(kept.replay_changelog())


def changelogs(content: bytes) -> None:
    """A changelog of a partition; after an odd byte, one whose sums are right."""
    sealed = content[:1] and content[0] % 2
    body = _sealed(content[1:]) if sealed else content[1:]
    folder = _folder() / "changelogs"
    folder.mkdir(exist_ok=True)
    (folder / CHANGELOG).write_bytes(body)
    manifest = {"settings": {}, "snapshot": None, "changelogs": [(CHANGELOG, len(body))]}
    with _sentences():
        kept = StateBackend(is_enabled=True, folder=folder).open_state(
            MANIFEST_MAGIC + msgspec.msgpack.encode(manifest), PartitionMessage, {}
        )
        list(kept.replay_changelog())


def stored(content: bytes) -> None:
    """A pickle of Bytewax's store, which may name nothing."""
    with suppress(Exception):  # the one caller makes a sentence of it, as there is no end to what pickle raises
        load_plain(content)


def streams(content: bytes) -> None:
    """Lines of JSON through both stages of a job whose tables are small, as they are at the end of a long day."""
    bucket_, partition = UserStore(CONFIG.users, 16), Partition(0, CONFIG, lambda: 0)
    raws = content.split(b"\n")[:200]
    for start in range(0, len(raws), 16):
        steps = bucket_.process(_parsed(raws[start : start + 16]))
        for _, value in encode_all(partition.process(ORIGIN, steps)):
            if value is not None:
                msgspec.json.decode(value)
    restored = UserStore(CONFIG.users, 16)
    restored.load_snapshot(bucket_.snapshot())
    assert restored.users == bucket_.users
    assert snapshot.load(snapshot.dump(partition), CONFIG, lambda: 0).report() == partition.report()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(records, rows, files, positions, urls, configurations),
        *(users, partitions, manifests, changelogs, stored, streams),
    )
}
