"""Validated access to the fields of one record, with an error sentence for each violation.

This is the strict parser for all types of events; `freshflow.events.parser` has a fast path for plain interactions and
falls back to this one. An absent field and null are equal, as is an empty string where text is expected.
"""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from freshflow.events.reject_codes import RejectCode
from freshflow.events.timestamps import LATEST_MS, parse_epoch_ms

MAX_ID_CHARS = 512  # bounds memory: hundreds of thousands of ids are kept, and longer ones are errors upstream
MAX_TEXT_CHARS = 4096  # for titles and queries
MAX_IDS = 1000  # search results or categories of one event: five times the longest list
MAX_DIMENSIONS = 4096  # of an embedding; the largest models in use have as many
MAX_K = 200  # items of a list
EARLIEST_PUBLISHED_MS = -30_610_224_000_000  # the year 1000: shops sell old books
MAX_QUOTED_CHARS = 60  # of an invalid value in a reason
VALUE_PLACEHOLDER = "{value}"  # replaced by a value of the record
REDACTED_VALUE = "***"  # replaces the value in redacted reasons

_T = TypeVar("_T")


class InvalidRecordError(Exception):
    """An invalid record: a stable `code` for counting and a `reason`, one sentence.

    `VALUE_PLACEHOLDER` in the sentence is replaced by `value`, quoted from the record. If the fault lies in one field,
    `field` is its name, and the reason begins with it.
    """

    def __init__(self, code: RejectCode, reason: str, value: object = None, *, field: str = "") -> None:
        self.code = code
        self.reason = reason.replace(VALUE_PLACEHOLDER, format_value(value), 1)
        self.redacted_reason = reason.replace(VALUE_PLACEHOLDER, REDACTED_VALUE, 1)
        self.field = field
        super().__init__(self.reason)

    def with_field(self, name: str) -> "InvalidRecordError":
        """Return the same error under the field's name in the source record."""
        error = InvalidRecordError(self.code, name + self.reason[len(self.field) :], field=name)
        error.redacted_reason = name + self.redacted_reason[len(self.field) :]
        return error


class Fields:
    """The named values of one record.

    Each method reads one: it returns None for an absent field, and raises `InvalidRecordError` for an invalid one.
    """

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def require(self, name: str, read: Callable[[str], _T | None]) -> _T:
        """Return the value that `read` returns for `name`; raise `InvalidRecordError` if it is absent."""
        value = read(name)
        if value is None:
            raise InvalidRecordError(
                "missing_field", f"{name} is missing or empty: this type of event requires it.", field=name
            )
        return value

    def identifier(self, name: str) -> str | None:
        """Return a text or number as text of at most `MAX_ID_CHARS`."""
        return _parse_text(name, self.values.get(name), MAX_ID_CHARS)

    def text(self, name: str) -> str | None:
        """Return a text or number as text of at most `MAX_TEXT_CHARS`."""
        return _parse_text(name, self.values.get(name), MAX_TEXT_CHARS)

    def identifiers(self, name: str) -> tuple[str, ...] | None:
        """Return a list of at most `MAX_IDS` ids, in order and without repetitions."""
        values = self._parse_list(name, MAX_IDS)
        return None if values is None else tuple(dict.fromkeys(_parse_entry(name, value) for value in values))

    def vector(self, name: str) -> tuple[float, ...] | None:
        """Return a list of 1 to `MAX_DIMENSIONS` finite numbers."""
        values = self._parse_list(name, MAX_DIMENSIONS)
        if values == []:
            raise InvalidRecordError(
                "wrong_type", f"{name} is an empty list: omit it, or give at least one number.", field=name
            )
        return None if values is None else tuple([_parse_finite(name, value) for value in values])

    def number(self, name: str) -> float | None:
        """Return a finite number."""
        value = self.values.get(name)
        return None if value is None else _parse_finite(name, value)

    def count(self, name: str, maximum: int) -> int | None:
        """Return a whole number from 1 to `maximum`."""
        number = self.number(name)
        if number is None:
            return None
        if not number.is_integer() or not 1 <= number <= maximum:
            raise _wrong_type_error(name, self.values[name], f"a whole number from 1 to {maximum}")
        return int(number)

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise _wrong_type_error(name, value, "true or false")

    def event_time_ms(self, name: str) -> int | None:
        """Return an event time in epoch milliseconds; syntax and limits are those of `parse_epoch_ms`."""
        return _parse_time_ms(name, self.values.get(name), parse_epoch_ms)

    def published_ms(self, name: str) -> int | None:
        """Return a publication time, which can be centuries ago, in epoch milliseconds."""
        return _parse_time_ms(name, self.values.get(name), _parse_published_ms)

    def _parse_list(self, name: str, max_length: int) -> list[object] | None:
        values = self.values.get(name)
        if values is not None and not isinstance(values, list):
            raise _wrong_type_error(name, values, "a list")
        if values is not None and len(values) > max_length:
            raise InvalidRecordError(
                "wrong_type", f"{name} has {len(values)} entries; at most {max_length} are allowed.", field=name
            )
        return values


def format_value(value: object) -> str:
    """Format an invalid value for a reason: one printable line of bounded length.

    >>> format_value("yesterday"), format_value([1, 2]), format_value(None)
    ("'yesterday'", 'a list', 'null')
    """
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value[: MAX_QUOTED_CHARS + 1]) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_QUOTED_CHARS + 2 else text[:MAX_QUOTED_CHARS] + "…"


def _wrong_type_error(name: str, value: object, expected: str) -> InvalidRecordError:
    return InvalidRecordError(
        "wrong_type", f"{name} = {VALUE_PLACEHOLDER} is not allowed: give {expected}.", value, field=name
    )


def _not_finite_error(name: str) -> InvalidRecordError:
    reason = f"{name} is NaN, infinite or too large: give a finite number."
    return InvalidRecordError("not_finite", reason, field=name)


def _parse_text(name: str, value: object, max_chars: int) -> str | None:
    """Return text unchanged, numbers as text (12.0 as "12"), and None for absent values."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = _format_number(name, value)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _wrong_type_error(name, value, "a string or a number")
    if len(value) > max_chars:
        reason = f"{name} = {VALUE_PLACEHOLDER} has {len(value)} characters; at most {max_chars} are allowed."
        raise InvalidRecordError("wrong_type", reason, value, field=name)
    if not value.isascii():
        _check_unicode(name, value)
    return value


def _format_number(name: str, number: int | float) -> str:
    if isinstance(number, int):
        return str(number)
    if not math.isfinite(number):
        raise _not_finite_error(name)
    return str(int(number)) if number.is_integer() else repr(number)


def _check_unicode(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        reason = f"{name} = {VALUE_PLACEHOLDER} contains a lone surrogate, which is not a character."
        raise InvalidRecordError("not_utf8", reason, value, field=name) from None


def _parse_entry(name: str, value: object) -> str:
    text = _parse_text(name, value, MAX_ID_CHARS)
    if text is None:
        raise InvalidRecordError("wrong_type", f"{name} has an empty entry: give strings or numbers.", field=name)
    return text


def _parse_finite(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type_error(name, value, "a number")
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        raise _not_finite_error(name) from None
    if not math.isfinite(number):
        raise _not_finite_error(name)
    return number


def _parse_time_ms(name: str, value: object, read: Callable[[str | int | float], int]) -> int | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _wrong_type_error(name, value, "ISO 8601 with an offset, or epoch seconds or milliseconds")
    if isinstance(value, float) and not math.isfinite(value):
        raise _not_finite_error(name)
    try:
        return read(value)
    except ValueError as error:
        raise InvalidRecordError("bad_time", f"{name} = {VALUE_PLACEHOLDER} {error}.", value, field=name) from None


def _parse_published_ms(value: str | int | float) -> int:
    return parse_epoch_ms(value, earliest_ms=EARLIEST_PUBLISHED_MS, latest_ms=LATEST_MS)
