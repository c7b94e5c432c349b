"""Conversion of event times to epoch milliseconds.

A time is ISO 8601 with a UTC offset (`2024-05-01T12:00:00+02:00`, or `Z`), or a number: epoch seconds below 1e11, epoch
milliseconds from there on. Both round to the nearest millisecond. Numbers can also be text, as in CSV.
"""

from datetime import UTC, datetime

EARLIEST_MS = 631_152_000_000  # 1990-01-01: earlier times are default values (0) or other units
LATEST_MS = 7_258_118_400_000  # 2200-01-01: later times are other units (microseconds)
EPOCH_SECONDS_LIMIT = 100_000_000_000  # the year 5138 as seconds, March 1973 as milliseconds

ACCEPTED_FORMATS = "give ISO 8601 with an offset, or epoch seconds or milliseconds"


def parse_epoch_ms(value: str | int | float, *, earliest_ms: int = EARLIEST_MS, latest_ms: int = LATEST_MS) -> int:
    """Convert a time to epoch milliseconds.

    >>> parse_epoch_ms("2024-05-01T12:00:00Z")
    1714564800000
    >>> parse_epoch_ms(1714564800)
    1714564800000

    Args:
        value: The time: ISO 8601 with an offset, or a number as in `number_to_ms`.
        earliest_ms: The first valid time, in epoch milliseconds.
        latest_ms: The end of the valid range (exclusive), in epoch milliseconds.

    Raises:
        ValueError: The value is not a time, or out of range; the message completes a sentence that begins "ts = … ".
    """
    time_ms = _text_to_ms(value) if isinstance(value, str) else number_to_ms(value)
    if not earliest_ms <= time_ms < latest_ms:
        first, last = (datetime.fromtimestamp(ms / 1000, UTC).year for ms in (earliest_ms, latest_ms))
        raise ValueError(f"is outside the years {first} to {last - 1}: {ACCEPTED_FORMATS}")
    return time_ms


def number_to_ms(number: int | float) -> int:
    """Convert a finite number of epoch seconds (below 1e11) or epoch milliseconds to milliseconds."""
    return round(number * 1000) if number < EPOCH_SECONDS_LIMIT else round(number)


def datetime_to_ms(instant: datetime) -> int:
    """Convert a datetime with an offset to epoch milliseconds."""
    return round(instant.timestamp() * 1000)


def format_duration(seconds: float) -> str:
    """Format a duration for people, in its largest unit.

    >>> format_duration(90), format_duration(5400), format_duration(63_072_000)
    ('90 seconds', '2 hours', '730 days')
    """
    for unit_s, name in ((86_400, "days"), (3600, "hours")):
        if seconds >= 1.5 * unit_s:
            return f"{seconds / unit_s:,.0f} {name}"
    return f"{seconds:,.0f} seconds"


def _text_to_ms(text: str) -> int:
    if text[4:5] != "-":  # a date such as 2024-05-01 needs no attempt as a number
        try:
            return number_to_ms(_parse_number(text))
        except ValueError:
            pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"is not a time: {ACCEPTED_FORMATS}") from None
    if instant.tzinfo is None:
        raise ValueError("has no UTC offset: append Z, or an offset such as +02:00")
    return datetime_to_ms(instant)


def _parse_number(text: str) -> int | float:
    """Parse plain digits; reject the syntax of `float` beyond them (`1_000`, `inf`, digits of other scripts)."""
    if not text.isascii() or "_" in text or "n" in text.lower():
        raise ValueError(text)
    number = float(text)
    if abs(number) == float("inf"):  # 1e999
        raise ValueError(text)
    return number
