"""Refused records as dead letters: what it was, where it stood and what is wrong with it, as a JSON object."""

import base64
import codecs
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from freshflow.events.model import Place, Rejected
from freshflow.events.reject_codes import Code
from freshflow.io.record import Record

__all__ = ["DeadLetter", "encode_rejected"]

LEFT_OUT = "privacy.pseudonymise is on, and the record may name a user"


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that is no event. Of `raw`, `raw_base64` and `raw_left_out` there is one."""

    reason: Annotated[str, Meta(description="What is wrong with it and what is asked for, in a sentence.")]
    code: Annotated[Code, Meta(description="The same as a word to count by.")]
    source: Annotated[Place, Meta(description="Where it stood.")]
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


def encode_rejected(rejected: Rejected, at_ms: int, max_raw: int | None = None) -> Record:
    """The dead letter of a record refused at `at_ms`, without a key.

    Of a record that takes more than `max_raw` bytes in the letter only the beginning is kept, and `raw_bytes` says how
    many it had.
    """
    kept = _raw(rejected.raw, max_raw) if rejected.left_out is None else _left_out(rejected.left_out)
    source = rejected.origin.place(rejected.position)
    return None, msgspec.json.encode(DeadLetter(rejected.reason, rejected.code, source, at_ms, **kept))


def _left_out(raw_bytes: int) -> dict[str, Any]:
    return {"raw_left_out": LEFT_OUT, "raw_bytes": raw_bytes}


def _raw(raw: bytes | None, max_raw: int | None) -> dict[str, Any]:
    if raw is None:
        return {"raw": None}
    kept = raw[:max_raw]
    spelled = _spelled(kept, final=len(kept) == len(raw))
    # JSON may spell a byte with six, so this is done three times at most.
    while max_raw is not None and _length(spelled) > max_raw:
        kept = kept[: len(kept) // 2]
        spelled = _spelled(kept, final=False)
    return {**spelled, "raw_bytes": len(raw), "truncated": True} if len(kept) < len(raw) else {**spelled}


def _spelled(kept: bytes, *, final: bool) -> dict[str, str]:
    try:
        # A character that the cut went through is left out.
        return {"raw": codecs.getincrementaldecoder("utf-8")().decode(kept, final=final)}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(kept).decode()}


def _length(spelled: dict[str, str]) -> int:
    """How many bytes the text takes in JSON."""
    (text,) = spelled.values()
    return len(msgspec.json.encode(text)) - len('""')
