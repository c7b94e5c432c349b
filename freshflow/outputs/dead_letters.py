"""Refused records as dead letters: what it was, where it stood and what is wrong with it, as a JSON object."""

import base64
import codecs
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from freshflow.events.model import Rejected, SourceRef
from freshflow.events.reject_codes import RejectCode
from freshflow.io.record import OutRecord

__all__ = ["DeadLetter", "encode_dead_letter"]

RAW_OMITTED_REASON = "privacy.pseudonymise is on, and the record may name a user"


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that is no event. Of `raw`, `raw_base64` and `raw_left_out` there is one."""

    reason: Annotated[str, Meta(description="What is wrong with it and what is asked for, in a sentence.")]
    code: Annotated[RejectCode, Meta(description="The same as a word to count by.")]
    source: Annotated[SourceRef, Meta(description="Where it stood.")]
    rejected_at: Annotated[int, Meta(description="When it was refused, in epoch milliseconds.")]
    raw: Annotated[str | UnsetType | None, Meta(description="The record as text; null for a tombstone.")] = UNSET
    raw_base64: Annotated[str | UnsetType, Meta(description="The record where it is not UTF-8.")] = UNSET
    raw_left_out: Annotated[
        str | UnsetType,
        Meta(description="Why the record is not here: where users have pseudonyms it may name one. `source` has it."),
    ] = UNSET
    raw_bytes: Annotated[int | UnsetType, Meta(description="Bytes of the record, where not all of them are here.")] = (
        UNSET
    )
    truncated: Annotated[bool | UnsetType, Meta(description="True where only the beginning is here.")] = UNSET


def encode_dead_letter(rejected_record: Rejected, rejected_at_ms: int, max_raw_bytes: int | None = None) -> OutRecord:
    """The dead letter of a record refused at `rejected_at_ms`, without a key.

    Of a record that takes more than `max_raw_bytes` bytes in the letter only the beginning is kept, and `raw_bytes` says how
    many it had.
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
    # JSON may spell a byte with six, so this is done three times at most.
    while max_raw_bytes is not None and _json_length(encoded) > max_raw_bytes:
        prefix = prefix[: len(prefix) // 2]
        encoded = _encode_raw(prefix, final=False)
    return {**encoded, "raw_bytes": len(raw), "truncated": True} if len(prefix) < len(raw) else {**encoded}


def _encode_raw(prefix: bytes, *, final: bool) -> dict[str, str]:
    try:
        # A character that the cut went through is left out.
        return {"raw": codecs.getincrementaldecoder("utf-8")().decode(prefix, final=final)}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(prefix).decode()}


def _json_length(encoded: dict[str, str]) -> int:
    """How many bytes the text takes in JSON."""
    (text,) = encoded.values()
    return len(msgspec.json.encode(text)) - len('""')
