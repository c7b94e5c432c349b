"""Refused records as dead letters: what it was, where it stood and what is wrong with it, as a JSON object.

```
{"reason", "code", "source": {"file", "line"} | {"topic", "partition", "offset"}, "rejected_at",
 "raw" | "raw_base64" | "raw_left_out", "raw_bytes"?, "truncated"?}
```
`rejected_at` is epoch milliseconds. `raw` is the record as text (null for a tombstone), or `raw_base64`
where it is not UTF-8. Where users have pseudonyms, `raw_left_out` says so in its place: the record may name one, and
stands in the source as long as that is kept. `code` is one of those that `freshflow.events.parse` lists.
"""

import base64
import codecs

import msgspec

from freshflow.connectors.records import Record
from freshflow.events.types import Rejected

__all__ = ["encode_rejected"]


def encode_rejected(rejected: Rejected, at_ms: int, max_raw: int | None = None) -> Record:
    """The dead letter of a record refused at `at_ms`, without a key.

    Of a record that takes more than `max_raw` bytes in the letter only the beginning is kept, and `raw_bytes` says how
    many it had.
    """
    letter = {
        "reason": rejected.reason,
        "code": rejected.code,
        "source": rejected.origin.place(rejected.position),
        "rejected_at": at_ms,
        **(_raw(rejected.raw, max_raw) if rejected.left_out is None else _left_out(rejected.left_out)),
    }
    return None, msgspec.json.encode(letter)


def _left_out(raw_bytes: int) -> dict[str, str | int | bool | None]:
    return {"raw_left_out": "privacy.pseudonymise is on, and the record may name a user", "raw_bytes": raw_bytes}


def _raw(raw: bytes | None, max_raw: int | None) -> dict[str, str | int | bool | None]:
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
