"""CloudEvents 1.0 in structured mode, as JSON: an envelope around a record of any format.

Source: github.com/cloudevents/spec, cloudevents/formats/json-format.md. `time`, `id` and `type` of the envelope fill
the fields that the record lacks; `source` and `id` together identify an event.
"""

from collections.abc import Callable

from freshflow.events.fields import InvalidRecordError
from freshflow.events.formats.adapter import Adapter, AdapterResult, EnvelopeContext
from freshflow.events.formats.mapping import JsonRecord

ENVELOPE_SIGNATURE = frozenset({"specversion", "id", "source", "type"})  # fields of every envelope


class EnvelopeReader:
    """Reader of the record in an envelope, by the adapter that `choose_adapter` returns for it."""

    def __init__(self, choose_adapter: Callable[[JsonRecord], Adapter]) -> None:
        self._choose_adapter = choose_adapter

    def read(self, record: JsonRecord, raw: bytes | None) -> AdapterResult:
        """Return the events of the record in an envelope.

        Raises:
            InvalidRecordError: `data` is not a JSON object, or a field of the record is invalid.
        """
        payload = record.get("data")
        if not isinstance(payload, dict):
            reason = "data is missing or not a JSON object" + (
                ": data_base64 is not read." if "data_base64" in record else "."
            )
            raise InvalidRecordError("missing_field", reason, field="data")
        fields = {"ts": record.get("time"), "event_id": _event_identity(record), "type": record.get("type")}
        source_names = {"ts": "time", "event_id": "id", "type": "type"}
        present_fields = {name: value for name, value in fields.items() if value not in (None, "")}
        attributes = {name: value for name, value in record.items() if name not in source_names.values()}
        return self._choose_adapter(payload).read(
            payload, raw, EnvelopeContext(attributes, "data", present_fields, source_names)
        )


def _event_identity(record: JsonRecord) -> object:
    source, event_id = record.get("source"), record.get("id")
    return f"{source} {event_id}" if isinstance(source, str) and isinstance(event_id, str) else event_id
