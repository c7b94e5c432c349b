"""Dead letters: rejected records as JSON objects, with their bytes, place and reason."""

import base64
import codecs
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from freshflow.events.model import Rejected, SourceRef
from freshflow.events.reject_codes import RejectCode
from freshflow.io.record import OutRecord

RAW_OMITTED_REASON = "privacy.pseudonymise is on, and the record may name a user"


class DeadLetter(msgspec.Struct, frozen=True):
    """A rejected record. Exactly one of `raw`, `raw_base64` and `raw_left_out` is present."""

    reason: Annotated[str, Meta(description="The fault and the remedy, as a sentence.")]
    code: Annotated[RejectCode, Meta(description="The fault as a code.")]
    source: Annotated[SourceRef, Meta(description="The place of the record in the input.")]
    rejected_at: Annotated[int, Meta(description="Time of the rejection, in epoch milliseconds.")]
    raw: Annotated[str | UnsetType | None, Meta(description="The record as text; null for a tombstone.")] = UNSET
    raw_base64: Annotated[str | UnsetType, Meta(description="The record in Base64, if it is not UTF-8.")] = UNSET
    raw_left_out: Annotated[
        str | UnsetType,
        Meta(description="The reason for leaving the record out: with pseudonyms on, it may name a user."),
    ] = UNSET
    raw_bytes: Annotated[int | UnsetType, Meta(description="Size of the record, if it is truncated or left out.")] = (
        UNSET
    )
    truncated: Annotated[
        bool | UnsetType, Meta(description="True if only the beginning of the record is included.")
    ] = UNSET


def encode_dead_letter(rejected_record: Rejected, rejected_at_ms: int, max_raw_bytes: int | None = None) -> OutRecord:
    """Encode the dead letter of a rejected record, without a key.

    Args:
        rejected_record: The record.
        rejected_at_ms: Processing time of the rejection.
        max_raw_bytes: Maximum size of the record in the letter; larger records are truncated, and `raw_bytes` gives
            their size. None means no limit.
    """
    fields = (
        _raw_fields(rejected_record.raw, max_raw_bytes)
        if rejected_record.n_hidden_bytes is None
        else _omitted_fields(rejected_record.n_hidden_bytes)
    )
    source_ref = rejected_record.origin.source_ref(rejected_record.position)
    return None, msgspec.json.encode(
        DeadLetter(rejected_record.reason, rejected_record.code, source_ref, rejected_at_ms, **fields)
    )


def _omitted_fields(raw_bytes: int) -> dict[str, Any]:
    return {"raw_left_out": RAW_OMITTED_REASON, "raw_bytes": raw_bytes}


def _raw_fields(raw: bytes | None, max_raw_bytes: int | None) -> dict[str, Any]:
    if raw is None:
        return {"raw": None}
    prefix = raw[:max_raw_bytes]
    encoded = _encode_raw(prefix, final=len(prefix) == len(raw))
    # A byte takes at most six bytes in JSON, so this loop runs at most three times.
    while max_raw_bytes is not None and _json_length(encoded) > max_raw_bytes:
        prefix = prefix[: len(prefix) // 2]
        encoded = _encode_raw(prefix, final=False)
    return {**encoded, "raw_bytes": len(raw), "truncated": True} if len(prefix) < len(raw) else {**encoded}


def _encode_raw(prefix: bytes, *, final: bool) -> dict[str, str]:
    try:
        # A character cut in two by the truncation is dropped.
        return {"raw": codecs.getincrementaldecoder("utf-8")().decode(prefix, final=final)}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(prefix).decode()}


def _json_length(encoded: dict[str, str]) -> int:
    """Return the size of the text in JSON, in bytes."""
    (text,) = encoded.values()
    return len(msgspec.json.encode(text)) - len('""')
