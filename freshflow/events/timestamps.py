"""Event times as they are written, turned into epoch milliseconds.

Two spellings are known: ISO 8601 with an offset (`2024-05-01T12:00:00+02:00`, or `Z`), and a number, which is
epoch seconds below 1e11 and epoch milliseconds from there on. Both round to the nearest millisecond. A number
may be written as text, as CSV cannot do otherwise.
"""

from datetime import UTC, datetime

__all__ = [
    "EARLIEST_MS",
    "LATEST_MS",
    "EPOCH_SECONDS_LIMIT",
    "format_duration",
    "parse_epoch_ms",
    "datetime_to_ms",
    "number_to_ms",
]

EARLIEST_MS = 631_152_000_000  # 1990-01-01: before it lie defaults (0) and other units, no behaviour
LATEST_MS = 7_258_118_400_000  # 2200-01-01: after it lie other units (microseconds)
EPOCH_SECONDS_LIMIT = 100_000_000_000  # the year 5138 in seconds, March 1973 in milliseconds

ACCEPTED_FORMATS = "give ISO 8601 with an offset, or epoch seconds or milliseconds"


def parse_epoch_ms(value: str | int | float, *, earliest_ms: int = EARLIEST_MS, latest_ms: int = LATEST_MS) -> int:
    """The time `value` names, in epoch milliseconds.

    Raises `ValueError`, whose message continues the sentence "ts = … ", when it names none or one outside
    [earliest_ms, latest_ms).

    >>> parse_epoch_ms("2024-05-01T12:00:00Z")
    1714564800000
    >>> parse_epoch_ms(1714564800)
    1714564800000
    """
    time_ms = _text_to_ms(value) if isinstance(value, str) else number_to_ms(value)
    if not earliest_ms <= time_ms < latest_ms:
        first, last = (datetime.fromtimestamp(ms / 1000, UTC).year for ms in (earliest_ms, latest_ms))
        raise ValueError(f"lies outside the years {first} to {last - 1}: {ACCEPTED_FORMATS}")
    return time_ms


def number_to_ms(number: int | float) -> int:
    """A finite number of epoch seconds (below 1e11) or epoch milliseconds, in milliseconds."""
    return round(number * 1000) if number < EPOCH_SECONDS_LIMIT else round(number)


def datetime_to_ms(instant: datetime) -> int:
    """An instant with an offset, in epoch milliseconds."""
    return round(instant.timestamp() * 1000)


def format_duration(seconds: float) -> str:
    """A span of time for people, in its largest unit.

    >>> format_duration(90), format_duration(5400), format_duration(63_072_000)
    ('90 seconds', '2 hours', '730 days')
    """
    for unit_s, name in ((86_400, "days"), (3600, "hours")):
        if seconds >= 1.5 * unit_s:
            return f"{seconds / unit_s:,.0f} {name}"
    return f"{seconds:,.0f} seconds"


def _text_to_ms(text: str) -> int:
    if text[4:5] != "-":  # as in 2024-05-01, which need not be tried as a number
        try:
            return number_to_ms(_parse_number(text))
        except ValueError:
            pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"is no time: {ACCEPTED_FORMATS}") from None
    if instant.tzinfo is None:
        raise ValueError(f"has no offset such as Z or +02:00: {ACCEPTED_FORMATS}")
    return datetime_to_ms(instant)


def _parse_number(text: str) -> int | float:
    """A number in plain digits; Python's own spellings (`1_000`, `inf`, other scripts' digits) are none."""
    if not text.isascii() or "_" in text or "n" in text.lower():
        raise ValueError(text)
    number = float(text)
    if abs(number) == float("inf"):  # 1e999
        raise ValueError(text)
    return number
