"""How good lists of related items are: does the next item of a session stand on the list of the item before it?

`python -m tests.bench.related events.jsonl related.jsonl`: the events, one JSON object a line under our own names, and
what `freshflow run --related` made of them. A list counts from the line after the event that it names, as a consumer
would have had it then. Beside it stand the most popular of the last 200 and 2,000 events.
"""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

K = 10
GAP_MS = 1_800_000
WINDOWS = (200, 2000)


class Recent:
    """The items of the last so many events, and how often each came."""

    def __init__(self, size: int) -> None:
        self.items: deque[str] = deque(maxlen=size)
        self.counts: Counter[str] = Counter()

    def add(self, item: str) -> None:
        if len(self.items) == self.items.maxlen:
            self.counts[self.items[0]] -= 1
        self.items.append(item)
        self.counts[item] += 1

    def top(self) -> list[str]:
        return [item for item, _ in self.counts.most_common(K)]


def moves(events: Path) -> Iterator[tuple[int, str | None, str]]:
    """Line, item before it in its session if there is another, and item of each behaviour event."""
    last: dict[tuple[str, Any], tuple[str, int]] = {}
    for line, text in enumerate(events.read_bytes().splitlines(), start=1):
        event = json.loads(text)
        if "item_id" not in event or event["type"] == "item":
            continue
        key = event["user_id"], event.get("session_id")
        item, ts_ms = last.get(key, ("", 0))
        goes_on = item not in ("", event["item_id"]) and event["ts"] - ts_ms <= GAP_MS
        yield line, item if goes_on else None, event["item_id"]
        last[key] = event["item_id"], event["ts"]


def main(events: Path, related: Path) -> None:
    records = [json.loads(text) for text in related.read_bytes().splitlines()]
    by_line = {
        line: list(several)
        for line, several in groupby(records, lambda one: one["source"]["line"] if "source" in one else 0)
    }
    lists: dict[str, list[str]] = {}
    recent = {size: Recent(size) for size in WINDOWS}
    hits: Counter[str] = Counter()
    asked, waiting = 0, sorted(by_line)
    for line, before, item in moves(events):
        while waiting and waiting[0] < line:
            for one in by_line[waiting.pop(0)]:
                lists[one["item_id"]] = [other["item_id"] for other in one["items"][:K]]
        if before is not None:
            asked += 1
            hits["has a list"] += before in lists
            hits["related items"] += item in lists.get(before, [])
            for size, window in recent.items():
                hits[f"popular of {size:,}"] += item in window.top()
        for window in recent.values():
            window.add(item)
    print(f"{asked:,} steps within sessions, {len(records):,} records")
    for name, count in hits.items():
        print(f"  {name:18} {count / asked:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
