"""What goes wrong with events on their way: duplicates, late ones, a bot, and lines that are no events."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from freshflow.simulator import lines
from freshflow.simulator.config import ShopConfig, generator
from freshflow.simulator.lines import Line
from freshflow.simulator.visitors import uniforms

__all__ = ["BREAKAGES", "bot_lines", "bot_user", "with_noise"]

DUPLICATES = 0.005  # share of events that a producer sends twice
DUPLICATE_AFTER_MS = 5_000  # at most: a retry
LATE = 0.01  # share of events that arrive behind their time
LATE_MS = (60_000, 900_000)  # from a minute to a quarter of an hour: phones without a network

BOT_START = 0.4  # of the time watched
BOT_PAUSE_MS = 200  # 300 views a minute
BOT_SHARE, BOT_LEAST, BOT_MOST = 0.02, 200, 6_000  # its views, as a share of the events and as a number

BROKEN_SHARE = 0.0002  # of the events, and at least one of each kind


def _changed(**fields: Any) -> Callable[[bytes], bytes]:
    """A breakage that gives fields of the event other values."""
    return lambda raw: msgspec.json.encode(msgspec.json.decode(raw) | fields)


def _without_item(raw: bytes) -> bytes:
    event = msgspec.json.decode(raw)
    del event["item_id"]
    return msgspec.json.encode(event)


# Ways for a line to be no event, by name; each makes its line from that of an event.
BREAKAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda raw: raw[: len(raw) // 2],
    "no JSON": lambda raw: b"GET /health HTTP/1.1",
    "no object": lambda raw: b"[" + raw + b"]",
    "no item": _without_item,
    "absurd time": _changed(ts=99_999_999_999_999_999),
    "NaN": lambda raw: raw[:-1] + b',"value":NaN}',
    "unknown type": _changed(type="teleport"),
    "no UTF-8": lambda raw: raw.replace(b'"item_id":"', b'"item_id":"\xff\xfe'),
}


def with_noise(clean: Iterable[Line], pages: Sequence[int], config: ShopConfig) -> Iterator[Line]:
    """The same lines with noise among them, each with its kind: duplicate, late, bot, broken.

    A late line keeps its event time and stands where it arrives. The bot crawls `pages`, which are items.
    Memory holds what is under way: a share of a quarter of an hour.
    """
    draw = uniforms(generator(config, "noise")).__next__
    return _with_broken(_with_delays(heapq.merge(clean, bot_lines(pages, config)), draw), config)


def _with_delays(clean: Iterable[Line], draw: Callable[[], float]) -> Iterator[Line]:
    under_way: list[tuple[int, int, Line]] = []  # (when it arrives, its number, so that no two are equal)
    for number, line in enumerate(clean):
        ts_ms, kind, raw = line
        while under_way and under_way[0][0] <= ts_ms:
            yield heapq.heappop(under_way)[2]
        chance = draw() if kind == "behaviour" else 1.0
        if chance < LATE:
            arrives_ms = ts_ms + int(LATE_MS[0] + draw() * (LATE_MS[1] - LATE_MS[0]))
            heapq.heappush(under_way, (arrives_ms, number, (ts_ms, "late", raw)))
            continue
        yield line
        if chance < LATE + DUPLICATES:
            arrives_ms = ts_ms + int(draw() * DUPLICATE_AFTER_MS)
            heapq.heappush(under_way, (arrives_ms, number, (ts_ms, "duplicate", raw)))
    yield from (line for _, _, line in sorted(under_way))


def _with_broken(sound: Iterable[Line], config: ShopConfig) -> Iterator[Line]:
    breakages = list(BREAKAGES.values())
    broken_in_all = max(len(breakages), int(BROKEN_SHARE * config.events))
    events = broken = 0
    for line in sound:
        yield line
        if line[1] not in ("behaviour", "late"):
            continue
        events += 1
        while broken * config.events < events * broken_in_all:
            yield line[0], "broken", breakages[broken % len(breakages)](line[2])
            broken += 1


def bot_user(config: ShopConfig) -> int:
    """The number of the user that is a bot; it looks like any other."""
    return config.users


def bot_lines(pages: Sequence[int], config: ShopConfig) -> Iterator[Line]:
    """A crawler that views item after item, far faster than anyone could."""
    start_ms = config.at_ms(BOT_START)
    views = min(max(int(BOT_SHARE * config.events), min(BOT_LEAST, config.events // 5)), BOT_MOST)
    for view in range(views):
        ts_ms = start_ms + view * BOT_PAUSE_MS
        item = pages[view % len(pages)]
        yield ts_ms, "bot", lines.behaviour(ts_ms, "view", bot_user(config), item, f"b{view + 1}")
