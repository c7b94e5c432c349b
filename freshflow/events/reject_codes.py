"""Why a record is no event: the codes by which refusals are counted, in dead letters, metrics and summaries."""

from typing import Literal

__all__ = ["REJECT_CODES", "RejectCode"]

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

# What is wrong with a record, by code; the sentence goes on from "the record".
REJECT_CODES: dict[RejectCode, str] = {
    "empty": "is blank, or a tombstone",
    "too_large": "has more bytes than `events.max_bytes`",
    "not_utf8": "is not UTF-8, or has half a character in a field",
    "not_json": "is not JSON, or nested too deeply",
    "not_an_object": "is JSON, but no object",
    "bad_row": "is a CSV row that does not fit its header",
    "unknown_type": "has a type that is not configured",
    "missing_field": "lacks a field that its type needs",
    "wrong_type": "has a field of a type, length or range that is not allowed",
    "not_finite": "has a number that is NaN or infinite",
    "bad_time": "has a time that cannot be read or cannot be true",
    "future": "is dated more than `events.max_future_s` after it was read",
    "ahead": "is dated more than `events.max_clock_skew_s` ahead of its stream, and other users' events disagree",
}
