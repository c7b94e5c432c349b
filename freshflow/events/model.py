"""What comes in, as types: the events of the job, where they came from, and what was refused.

All are immutable, carry no reference to Kafka or files beyond a name, and pickle (they cross process borders). Events
are tagged, so that those that wait can be kept in a snapshot.
Times are event times in epoch milliseconds.

A record may give several events (`freshflow.events.formats`), all of one user. They share its position, and `nth`
counts them from 0: (position, nth) names an event of an origin.
"""

import math
from typing import Annotated, ClassVar, Literal, final

import msgspec
from msgspec import Meta

from freshflow.events.reject_codes import RejectCode

__all__ = [
    "CONTROL_TYPES",
    "Interaction",
    "Event",
    "Forget",
    "Identify",
    "ItemUpdate",
    "Origin",
    "SourceRef",
    "RawBatch",
    "Rejected",
    "Request",
    "Search",
]

CONTROL_TYPES = ("forget", "identify", "item", "request", "search")

_FILE_POSITION_SCHEMA = {"file": {"type": "string"}, "line": {"type": "integer", "minimum": 1}}
_TOPIC_POSITION_SCHEMA = {
    "topic": {"type": "string"},
    "partition": {"type": "integer", "minimum": 0},
    "offset": {"type": "integer", "minimum": 0},
}
_NTH_SCHEMA = {"event": {"type": "integer", "minimum": 1}}
# Where an event stands, as published: see `Origin.place`.
SourceRef = Annotated[
    dict[str, str | int],
    Meta(
        extra_json_schema={
            "anyOf": [
                {
                    "properties": position_schema | _NTH_SCHEMA,
                    "required": list(position_schema),
                    "additionalProperties": False,
                }
                for position_schema in (_FILE_POSITION_SCHEMA, _TOPIC_POSITION_SCHEMA)
            ]
        }
    ),
]


class Origin(msgspec.Struct, frozen=True):
    """The ordered log a record came from: a file, or one partition of a topic."""

    kind: Literal["file", "topic"]
    name: str
    partition: int = 0

    @property
    def key(self) -> str:
        """A name that no other origin of the job has."""
        return f"{self.kind}:{self.name}/{self.partition}"

    def source_ref(self, position: int, nth: int = 0) -> SourceRef:
        """Where an event stands, as published: file and line (from 1), or topic, partition and offset.

        Of a record with several events, `event` counts those after the first.
        """
        event = {"event": nth} if nth else {}
        if self.kind == "file":
            return {"file": self.name, "line": position, **event}
        return {"topic": self.name, "partition": self.partition, "offset": position, **event}


class RawBatch(msgspec.Struct, frozen=True):
    """Consecutive records of one origin, as a source read them; it stays together through the graph.

    `records` are (position, bytes) with rising positions: the line number from 1, or the offset. `columns` are the
    names of a CSV header or of the cells of a file that has none, else None; `separator` stands between the cells. A
    record of None bytes is a Kafka tombstone. `read_ms` is processing time.
    """

    origin: Origin
    records: tuple[tuple[int, bytes | None], ...]
    read_ms: int
    columns: tuple[str, ...] | None = None
    separator: str = ","


@final
class Interaction(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False, omit_defaults=True):
    """A user did something with an item; `weight` is that of its type, from the configuration."""

    position: int
    type: str
    user_id: str
    item_id: str
    ts_ms: int
    weight: float = 1.0
    event_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    nth: int = 0

    @property
    def sample_weight(self) -> float:
        """How much the event counts in what is learned: sqrt(|weight|), as a purchase is not five views."""
        return math.sqrt(abs(self.weight))

    def to_record(self, guest_id: str | None = None) -> bytes:
        """A record that would be read as this event, where its own bytes are no longer at hand.

        `guest_id` is what names its user where that is a guest. Events of one record share an id, by which all but the
        first would be duplicates in records of their own.
        """
        user_field = {"user_id": self.user_id} if guest_id is None else {"guest_id": guest_id}
        fields = {"type": self.type, **user_field, "item_id": self.item_id, "ts": self.ts_ms}
        optional_fields = {
            "event_id": None if self.nth else self.event_id,
            "session_id": self.session_id,
            "value": self.value,
        }
        return msgspec.json.encode(
            fields | {name: value for name, value in optional_fields.items() if value is not None}
        )


@final
class Request(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """Someone asks for a user's list as of now; it teaches nothing. `k` None means the configured length."""

    position: int
    user_id: str
    ts_ms: int
    request_id: str | None = None
    k: int | None = None
    exclude_seen: bool = False
    nth: int = 0


@final
class Search(msgspec.Struct, frozen=True, tag=True, tag_field="kind"):
    """Someone asks for a search engine's result ids in the order that suits this user."""

    position: int
    user_id: str
    ts_ms: int
    query: str
    items: tuple[str, ...]
    request_id: str | None = None
    k: int | None = None
    exclude_seen: bool = False
    nth: int = 0


@final
class ItemUpdate(msgspec.Struct, frozen=True, tag=True, tag_field="kind"):
    """A catalogue entry, alone in its record; None means the event did not say, and what was known stays."""

    nth: ClassVar[int] = 0
    position: int
    item_id: str
    ts_ms: int
    title: str | None = None
    categories: tuple[str, ...] | None = None
    price: float | None = None
    available: bool | None = None
    published_ms: int | None = None
    embedding: tuple[float, ...] | None = None
    brand: str | None = None
    margin: float | None = None


@final
class Forget(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user asks to be forgotten, alone in its record.

    `is_known` is for the user stage to say: whether there was something to forget. `is_in_other_bucket` says that the user is one
    of another bucket, of whom this one may have known guests.
    """

    nth: ClassVar[int] = 0
    position: int
    user_id: str
    ts_ms: int
    is_known: bool = False
    is_in_other_bucket: bool = False


@final
class Identify(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """It is known who a guest is: the `anonymous_id` is `format_user_id` from now on (`freshflow.events.identity`).

    It may stand before the other events of a record that say so, too.
    """

    nth: ClassVar[int] = 0
    position: int
    user_id: str
    anonymous_id: str
    ts_ms: int


Event = Interaction | Request | Search | ItemUpdate | Forget | Identify


class Rejected(msgspec.Struct, frozen=True):
    """A record that is no event: its bytes, the reason in words, a short `code` to count it by, and its place.

    `redacted_reason` is the reason without what it quotes of the record, where it quotes something.
    `n_hidden_bytes` says how many bytes there were where they are kept back, as they may name a user.
    """

    origin: Origin
    position: int
    raw: bytes | None
    code: RejectCode
    reason: str
    n_hidden_bytes: int | None = None
    redacted_reason: str | None = None
