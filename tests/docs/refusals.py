"""Generate the table of reject codes, with an example of each from the parser itself."""

from typing import NamedTuple

from freshflow.config.schema import Config, EventsConfig
from freshflow.events.model import Origin, RawBatch, Rejected
from freshflow.events.parser import EventParser
from freshflow.events.reject_codes import REJECT_CODES, RejectCode
from freshflow.users.store import UserStore
from tests.docs.tables import table

ORIGIN = Origin("file", "events.jsonl")
NOW_S = 1_764_000_000


class Sample(NamedTuple):
    """Lines of a file, one of which is rejected; with the columns of a CSV file, and settings."""

    lines: tuple[bytes, ...]
    columns: tuple[str, ...] | None = None
    config: EventsConfig = EventsConfig()


def _view(user: int, ts: object) -> bytes:
    return f'{{"type": "view", "user_id": "u{user}", "item_id": "i42", "ts": {ts}}}'.encode()


YEAR_BEFORE_S = NOW_S - 365 * 86_400
SAMPLES: dict[RejectCode, Sample] = {
    "empty": Sample((b" ",)),
    "too_large": Sample((b'{"type": "item", "title": "' + b"very " * 20,), config=EventsConfig(max_bytes=100)),
    "not_utf8": Sample((b'{"type": "view", "user_id": "Zo\xeb", "item_id": "i42", "ts": 1764000000}',)),
    "not_json": Sample((b'{"type": "view", "user_id": u7}',)),
    "not_an_object": Sample((b'["view", "u7", "i42"]',)),
    "bad_row": Sample((b"view,u7,i42",), ("type", "user_id", "item_id", "ts")),
    "unknown_type": Sample((b'{"type": "look", "user_id": "u7", "item_id": "i42", "ts": 1764000000}',)),
    "missing_field": Sample((b'{"type": "view", "user_id": "u7", "ts": 1764000000}',)),
    "wrong_type": Sample((b'{"type": "request", "user_id": "u7", "ts": 1764000000, "k": 500}',)),
    "not_finite": Sample((b'{"type": "rate", "user_id": "u7", "item_id": "i42", "ts": 1764000000, "value": NaN}',)),
    "bad_time": Sample((_view(7, '"2025-11-24 09:30"'),)),
    "future": Sample((_view(7, NOW_S + 86_400),)),
    "ahead": Sample(tuple(_view(user, YEAR_BEFORE_S + s) for user, s in ((1, 0), (7, 5_184_000), (8, 10), (9, 20)))),
}


def refused(code: RejectCode) -> Rejected:
    """Return the rejected line of a sample; raise `ValueError` unless exactly one is rejected."""
    lines, columns, config = SAMPLES[code]
    batch = RawBatch(ORIGIN, tuple(enumerate(lines, start=1)), NOW_S * 1000, columns)
    events, rejected = EventParser(config).parse(batch)
    _, ahead = UserStore.for_partition(Config()).process_batch(ORIGIN, events, batch.read_ms)
    (one,) = rejected + ahead
    return one


def refusals_table() -> str:
    """Return a table of the codes: condition, example and reason."""
    rows = []
    for code, when in REJECT_CODES.items():
        one = refused(code)
        line = SAMPLES[code].lines[one.position - 1].decode(errors="replace")
        rows.append((f"`{code}`", when, f"`{line}`" if line.strip() else "", one.reason))
    return table(("code", "the record", "example", "reason"), rows)
