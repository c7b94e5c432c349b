"""Codes of rejected records, by which dead letters, metrics and summaries count them."""

from typing import Literal

RejectCode = Literal[
    "empty",
    "too_large",
    "not_utf8",
    "not_json",
    "not_an_object",
    "bad_row",
    "unknown_type",
    "missing_field",
    "wrong_type",
    "not_finite",
    "bad_time",
    "future",
    "ahead",
]

# Meaning of each code; completes a sentence that begins "the record".
REJECT_CODES: dict[RejectCode, str] = {
    "empty": "is blank or a tombstone",
    "too_large": "is larger than `events.max_bytes`",
    "not_utf8": "is not UTF-8, or has a lone surrogate in a field",
    "not_json": "is not JSON, or is nested too deeply",
    "not_an_object": "is JSON, but not an object",
    "bad_row": "is a CSV row that does not match its header",
    "unknown_type": "has an event type that is not configured",
    "missing_field": "lacks a field that its type requires",
    "wrong_type": "has a field with an invalid type, length or range",
    "not_finite": "has a number that is NaN or infinite",
    "bad_time": "has a time that cannot be parsed or is out of range",
    "future": "is dated more than `events.max_future_s` after the time it was read",
    "ahead": "is dated more than `events.max_clock_skew_s` ahead of its stream, and other users' events contradict it",
}
