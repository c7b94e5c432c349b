"""Noise of a simulated stream: duplicates, late events, a bot, and invalid lines."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from freshflow.simulator import lines
from freshflow.simulator.config import ShopConfig, create_rng
from freshflow.simulator.lines import Line
from freshflow.simulator.visitors import draw_uniforms

DUPLICATE_SHARE = 0.005  # share of events that a producer sends twice
MAX_DUPLICATE_DELAY_MS = 5_000  # delay of a producer's retry
LATE_SHARE = 0.01  # share of events that arrive late
LATE_DELAY_RANGE_MS = (60_000, 900_000)  # 1 to 15 minutes: phones without a network

BOT_START_SHARE = 0.4  # start, as a share of the time span
BOT_PAUSE_MS = 200  # 300 views a minute
BOT_VIEW_SHARE, MIN_BOT_VIEWS, MAX_BOT_VIEWS = 0.02, 200, 6_000  # views: share of the events, and bounds

BROKEN_SHARE = 0.0002  # share of the events; at least one of each corruption


def _replace_fields(**fields: Any) -> Callable[[bytes], bytes]:
    """Return a corruption that replaces fields of the event."""
    return lambda raw: msgspec.json.encode(msgspec.json.decode(raw) | fields)


def _remove_item_id(raw: bytes) -> bytes:
    event = msgspec.json.decode(raw)
    del event["item_id"]
    return msgspec.json.encode(event)


# Corruptions by name: functions from the line of an event to an invalid line.
CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda raw: raw[: len(raw) // 2],
    "no JSON": lambda raw: b"GET /health HTTP/1.1",
    "no object": lambda raw: b"[" + raw + b"]",
    "no item": _remove_item_id,
    "absurd time": _replace_fields(ts=99_999_999_999_999_999),
    "NaN": lambda raw: raw[:-1] + b',"value":NaN}',
    "unknown type": _replace_fields(type="teleport"),
    "no UTF-8": lambda raw: raw.replace(b'"item_id":"', b'"item_id":"\xff\xfe'),
}


def add_noise(clean_lines: Iterable[Line], pages: Sequence[int], config: ShopConfig) -> Iterator[Line]:
    """Add noise to lines; its kinds are duplicate, late, bot and broken.

    A late line keeps its event time and is delivered later. Delayed lines are held in memory: a share of the events of
    a quarter of an hour.

    Args:
        clean_lines: The lines, by event time.
        pages: The items that the bot views, in turn.
        config: The configuration.
    """
    draw = draw_uniforms(create_rng(config, "noise")).__next__
    return _add_broken_lines(_add_delays(heapq.merge(clean_lines, bot_lines(pages, config)), draw), config)


def _add_delays(clean_lines: Iterable[Line], draw: Callable[[], float]) -> Iterator[Line]:
    delayed_lines: list[tuple[int, int, Line]] = []  # (arrival time, line number as a tie-breaker, line)
    for number, line in enumerate(clean_lines):
        ts_ms, kind, raw = line
        while delayed_lines and delayed_lines[0][0] <= ts_ms:
            yield heapq.heappop(delayed_lines)[2]
        chance = draw() if kind == "behaviour" else 1.0
        if chance < LATE_SHARE:
            arrival_ms = ts_ms + int(
                LATE_DELAY_RANGE_MS[0] + draw() * (LATE_DELAY_RANGE_MS[1] - LATE_DELAY_RANGE_MS[0])
            )
            heapq.heappush(delayed_lines, (arrival_ms, number, (ts_ms, "late", raw)))
            continue
        yield line
        if chance < LATE_SHARE + DUPLICATE_SHARE:
            arrival_ms = ts_ms + int(draw() * MAX_DUPLICATE_DELAY_MS)
            heapq.heappush(delayed_lines, (arrival_ms, number, (ts_ms, "duplicate", raw)))
    yield from (line for _, _, line in sorted(delayed_lines))


def _add_broken_lines(intact_lines: Iterable[Line], config: ShopConfig) -> Iterator[Line]:
    corruptions = list(CORRUPTIONS.values())
    n_broken_total = max(len(corruptions), int(BROKEN_SHARE * config.events))
    n_events = n_broken = 0
    for line in intact_lines:
        yield line
        if line[1] not in ("behaviour", "late"):
            continue
        n_events += 1
        while n_broken * config.events < n_events * n_broken_total:
            yield line[0], "broken", corruptions[n_broken % len(corruptions)](line[2])
            n_broken += 1


def bot_user(config: ShopConfig) -> int:
    """Return the number of the bot's user; its id is like that of any user."""
    return config.users


def bot_lines(pages: Sequence[int], config: ShopConfig) -> Iterator[Line]:
    """Yield the views of a crawler, which views items faster than a person can."""
    start_ms = config.time_at_ms(BOT_START_SHARE)
    n_views = min(max(int(BOT_VIEW_SHARE * config.events), min(MIN_BOT_VIEWS, config.events // 5)), MAX_BOT_VIEWS)
    for view_index in range(n_views):
        ts_ms = start_ms + view_index * BOT_PAUSE_MS
        item = pages[view_index % len(pages)]
        yield ts_ms, "bot", lines.encode_interaction(ts_ms, "view", bot_user(config), item, f"b{view_index + 1}")
