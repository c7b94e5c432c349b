"""CloudEvents 1.0 in structured mode, as JSON: an envelope around a record of any shape.

Source: github.com/cloudevents/spec, cloudevents/formats/json-format.md. `time`, `id` and `type` of the envelope count
where the record leaves its own out; `source` and `id` together name an event.
"""

from collections.abc import Callable

from freshflow.events.fields import RefusedError
from freshflow.events.formats.adapter import Adapter, Found, Wrapped
from freshflow.events.formats.mapping import Record

__all__ = ["FORMAT", "KNOWN_BY", "Envelope"]

FORMAT = "cloudevents"
KNOWN_BY = frozenset({"specversion", "id", "source", "type"})  # what every envelope has


class Envelope:
    """Reads the record in an envelope by the adapter that `inside` chooses for it."""

    def __init__(self, inside: Callable[[Record], Adapter]) -> None:
        self._inside = inside

    def read(self, record: Record, raw: bytes | None) -> Found:
        """The events of the record in an envelope. Raises `RefusedError`."""
        inner = record.get("data")
        if not isinstance(inner, dict):
            said = "data is missing or no JSON object" + (
                ": data_base64 is not read." if "data_base64" in record else "."
            )
            raise RefusedError("missing_field", said, field="data")
        fields = {"ts": record.get("time"), "event_id": _identity(record), "type": record.get("type")}
        named = {"ts": "time", "event_id": "id", "type": "type"}
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        attributes = {name: value for name, value in record.items() if name not in named.values()}
        return self._inside(inner).read(inner, raw, Wrapped(attributes, "data", given, named))


def _identity(record: Record) -> object:
    source, event_id = record.get("source"), record.get("id")
    return f"{source} {event_id}" if isinstance(source, str) and isinstance(event_id, str) else event_id
