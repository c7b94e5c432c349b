"""Types of input events, their origins, and rejected records.

All types are immutable and picklable, as they cross process borders, and refer to Kafka or files by name only. Events
are tagged unions, so snapshots can hold pending events. Times are event times in epoch milliseconds.

A record can contain several events of one user (`freshflow.events.formats`). They share the record's position;
`nth` numbers them from 0, so (position, nth) identifies an event within its origin.
"""

import math
from typing import Annotated, ClassVar, Literal, final

import msgspec
from msgspec import Meta

from freshflow.events.reject_codes import RejectCode

CONTROL_TYPES = ("forget", "identify", "item", "request", "search")

_FILE_POSITION_SCHEMA = {"file": {"type": "string"}, "line": {"type": "integer", "minimum": 1}}
_TOPIC_POSITION_SCHEMA = {
    "topic": {"type": "string"},
    "partition": {"type": "integer", "minimum": 0},
    "offset": {"type": "integer", "minimum": 0},
}
_NTH_SCHEMA = {"event": {"type": "integer", "minimum": 1}}
# The place of an event, as published: see `Origin.source_ref`.
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
    """The ordered log of a record: a file, or one partition of a topic."""

    kind: Literal["file", "topic"]
    name: str
    partition: int = 0

    @property
    def key(self) -> str:
        """A name that is unique among the origins of a job."""
        return f"{self.kind}:{self.name}/{self.partition}"

    def source_ref(self, position: int, nth: int = 0) -> SourceRef:
        """Return the place of an event in its published form.

        The place is a file and a line number (from 1), or a topic, a partition and an offset. For the second and later
        events of a record, `event` holds `nth`.
        """
        event = {"event": nth} if nth else {}
        if self.kind == "file":
            return {"file": self.name, "line": position, **event}
        return {"topic": self.name, "partition": self.partition, "offset": position, **event}


class RawBatch(msgspec.Struct, frozen=True):
    """Consecutive records of one origin, as read by a source; a batch is never split in the dataflow.

    Attributes:
        origin: The log of the records.
        records: Pairs (position, bytes) with increasing positions: line numbers from 1, or offsets. None instead of
            bytes is a Kafka tombstone.
        read_ms: Processing time of the read.
        columns: Column names of a CSV file, from its header or from its format; None for other formats.
        separator: Separator of CSV cells.
    """

    origin: Origin
    records: tuple[tuple[int, bytes | None], ...]
    read_ms: int
    columns: tuple[str, ...] | None = None
    separator: str = ","


@final
class Interaction(msgspec.Struct, frozen=True, tag="interaction", tag_field="kind", gc=False, omit_defaults=True):
    """An action of a user on an item; `weight` is the configured weight of its type."""

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
        """Weight of the event as a training example: sqrt(|weight|), so that a purchase is not worth five views."""
        return math.sqrt(abs(self.weight))

    def to_record(self, guest_id: str | None = None) -> bytes:
        """Encode the event as a record that parses to the same event, for use when its original bytes are gone.

        `guest_id` names the anonymous user, if the event is of one. Events of one record share an event id; only the
        first keeps it, as separate records with the same id would be duplicates.
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
class Request(msgspec.Struct, frozen=True, tag="request", tag_field="kind", gc=False):
    """A request for a user's current list, which is no training example; `k` None means the configured length."""

    position: int
    user_id: str
    ts_ms: int
    request_id: str | None = None
    k: int | None = None
    exclude_seen: bool = False
    nth: int = 0


@final
class Search(msgspec.Struct, frozen=True, tag="search", tag_field="kind"):
    """A request to order the result ids of a search engine for a user."""

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
class ItemUpdate(msgspec.Struct, frozen=True, tag="item_update", tag_field="kind"):
    """A catalogue entry, the only event of its record; fields that are None leave the known values unchanged."""

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
class Forget(msgspec.Struct, frozen=True, tag="forget", tag_field="kind", gc=False):
    """A request to delete a user's data, the only event of its record.

    The user stage sets the flags: `is_known` if it had state of the user, `is_in_other_bucket` on copies for buckets
    that do not own the user but may have known them as an anonymous user.
    """

    nth: ClassVar[int] = 0
    position: int
    user_id: str
    ts_ms: int
    is_known: bool = False
    is_in_other_bucket: bool = False


@final
class Identify(msgspec.Struct, frozen=True, tag="identify", tag_field="kind", gc=False):
    """The identification of an anonymous user: from now on, `anonymous_id` is `user_id` (`freshflow.events.identity`).

    It can also precede the other event of a record that names both ids.
    """

    nth: ClassVar[int] = 0
    position: int
    user_id: str
    anonymous_id: str
    ts_ms: int


Event = Interaction | Request | Search | ItemUpdate | Forget | Identify


class Rejected(msgspec.Struct, frozen=True):
    """An invalid record: its bytes, the reason as a sentence, a `code` for counting, and its place.

    Attributes:
        origin: The log of the record.
        position: Its position in the log.
        raw: Its bytes; None for a tombstone, and where the bytes are withheld.
        code: The reason as a code.
        reason: The reason as a sentence.
        n_hidden_bytes: Size of a record whose bytes are withheld because they may name a user; None otherwise.
        redacted_reason: The reason without values from the record, if it quotes any.
    """

    origin: Origin
    position: int
    raw: bytes | None
    code: RejectCode
    reason: str
    n_hidden_bytes: int | None = None
    redacted_reason: str | None = None
