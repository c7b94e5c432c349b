"""`make bench-scale`: whether cost stays flat as a shop grows, what memory it takes, two processes, and ends of epochs.

    python -m tests.bench.scale [--events N] [--runs N] [--short N]

Refreshes are off but where states are kept. The growing shop has a new user every five events and a new item every 25.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

from freshflow.config.schema import Config
from freshflow.engine.messages import EventBatch
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.state.backend import StateBackend
from freshflow.streaming.operators.partitions import PartitionOperator, partition_operator
from freshflow.streaming.operators.users import UserOperator, user_operator

from .machine import described, median, show
from .measure import ROOT, Json, measured
from .streams import growing, write_growing

EARLY = 200_000  # events after which growth is compared with its end
EPOCH = 10_000  # events, of 10 s at a thousand a second
SPAN = 100_000  # events to either side, over whose reports speeds are taken
ENOUGH = {"FRESHFLOW_ITEMS_MAX": "1000000", "FRESHFLOW_USERS_MAX": "10000000", "FRESHFLOW_REFRESH_INTERVAL_S": "0"}


def main() -> None:
    """Measure, and print a table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_200_000, help="of the growing shop")
    parser.add_argument("--short", type=int, default=300_000, help="events for one process against two")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(described())
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "growing.jsonl"
        write_growing(stream, options.events)
        _growth(stream, Path(folder) / "metrics.jsonl", options.events)
        _processes(stream, min(options.short, options.events), options.runs)
        _epochs(Path(folder) / "states", min(500_000, options.events))


def _growth(stream: Path, metrics: Path, events: int) -> None:
    command = [sys.executable, "-m", "freshflow.cli.main", "run", "--quiet", "--input", stream, "--output", "-"]
    with Path(os.devnull).open("wb") as nowhere:
        done = subprocess.Popen([*command, "--metrics", metrics], cwd=ROOT, env=os.environ | ENOUGH, stdout=nowhere)
        _, status, usage = os.wait4(done.pid, 0)
    assert status == 0
    reports = [json.loads(line) for line in metrics.read_bytes().splitlines()]
    early, late = (_speed(reports, at) for at in (min(EARLY, events // 2), events - SPAN))
    last, start_mb = reports[-1]["counts"], _started_mb()
    rows = [
        [f"events a second around event {min(EARLY, events // 2):,}", f"{early:,.0f}"],
        [f"around event {events - SPAN:,}", f"{late:,.0f}"],
        ["late / early", f"{late / early:.2f}"],
        ["users, items", f"{events // 5:,}, {last['items']:,}"],
        ["peak memory", f"{usage.ru_maxrss / 1024:,.0f} MB, of which {start_mb:,.0f} MB at the start"],
    ]
    show("A shop that grows", ["", ""], rows)


def _speed(reports: list[Json], at: int) -> float:
    """Events a second around event number `at`: the median over the reports there."""
    near = [report for report in reports if abs(report["counts"]["events"] - at) <= SPAN]
    speeds = [
        (later["counts"]["events"] - one["counts"]["events"]) / (later["computed_at"] - one["computed_at"]) * 1000
        for one, later in pairwise(near)
    ]
    return median(speeds)


def _started_mb() -> float:
    """Memory of a job that has just begun."""
    shop = "\n".join(json.dumps({"type": "view", "user_id": "u", "item_id": "i", "ts": 1_700_000_000}) for _ in "ab")
    command = [sys.executable, "-m", "freshflow.cli.main", "run", "--quiet", "--input", "-", "--output", "-"]
    done = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | ENOUGH, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert done.stdin is not None
    done.stdin.write(shop.encode())
    done.stdin.close()
    _, _, usage = os.wait4(done.pid, 0)
    return usage.ru_maxrss / 1024


def _processes(stream: Path, events: int, runs: int) -> None:
    results: dict[str, list[Json]] = {"job": [], "job-two": []}
    for _ in range(runs):
        for what, measurements in results.items():
            measurements.append(measured(what, stream, events))
    speeds = {what: median([run["events"] / run["seconds"] for run in several]) for what, several in results.items()}
    rows = [
        [name, f"{speeds[what]:,.0f}", f"{speeds[what] / speeds['job']:.2f}", *_quality(results[what][0])]
        for name, what in (("one process", "job"), ("two processes, two partitions", "job-two"))
    ]
    show(f"{events:,} events of it", ["", "events/s", "x one", "HR@20", "MRR@20"], rows)


def _quality(run: Json) -> list[str]:
    return [f"{run['hr20']:.3f}", f"{run['mrr20']:.3f}"]


def _epochs(folder: Path, events: int) -> None:
    """How long the job stands still at the end of an epoch, and to resume; of the stages, without Bytewax."""
    config, keeping = Config(), StateBackend(is_enabled=True, folder=folder)
    users, partition = _stages(config, keeping)
    origin, parser, position = Origin("file", "growing"), EventParser(config.events), 0
    lines = _lines(growing(events, events_per_item=max(1, events // 50_000)))
    pauses: dict[bool, list[float]] = {False: [], True: []}
    stored: list[bytes] = []
    while records := list(islice(lines, 256)):
        raw = RawBatch(origin, tuple(enumerate(records, start=position + 1)), 0)
        position += len(records)
        routed, _ = users.on_batch([EventBatch(0, origin, 0, parser.parse(raw)[0], position)])
        partition.on_batch([message for _, message in routed])
        if position // EPOCH != (position - len(records)) // EPOCH:
            bases = len(list(folder.glob("*.snapshot")))
            begun = time.perf_counter()
            stored = [users.snapshot(), partition.snapshot()]
            pause = time.perf_counter() - begun
            pauses[len(list(folder.glob("*.snapshot"))) > bases].append(1000 * pause)
    begun = time.perf_counter()
    _stages(config, keeping, *stored)
    resumed = time.perf_counter() - begun
    counts = partition.partition.report().counts if partition.partition else {}
    rows = [
        [name, f"{median(several[-10:]):,.0f} ms", f"{max(several[-10:]):,.0f} ms"]
        for name, several in (("most epochs", pauses[False]), ("where a whole state is begun", pauses[True]))
        if several
    ]
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    show(
        f"Ends of epochs of {EPOCH:,} events, the last ten of each kind, with {len(users.stage.store.users):,} users "
        f"and {counts['items']:,} items",
        ["", "pause, median", "most"],
        [
            *rows,
            ["to resume after the last of them", f"{1000 * resumed:,.0f} ms", ""],
            ["files", f"{size:,.0f} MB", ""],
        ],
    )


def _stages(config: Config, keeping: StateBackend, *stored: bytes) -> tuple[UserOperator, PartitionOperator]:
    users, partition = stored or (None, None)
    return user_operator(config, lambda: 0, keeping)(users), partition_operator(config, lambda: 0, keeping, live=False)(
        partition
    )


def _lines(events: Iterator[tuple[str, str, int]]) -> Iterator[bytes]:
    for user, item, ts in events:
        yield json.dumps({"type": "view", "user_id": user, "item_id": item, "ts": ts}).encode()


if __name__ == "__main__":
    main()
