"""`make bench`: events a second of the job, beside the bare graph and the VSKNN baseline, in one session of runs.

    python -m tests.bench.throughput [--runs N] [--events N] [FILE.jsonl ...]

Each run has a process of its own; what is compared is run in turns, and the medians are shown. Without a file the
stream is a simulated shop with 100,000 users and 50,000 items.
"""

import argparse
import gzip
import shutil
import tempfile
from pathlib import Path

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines

from .machine import described, median, show
from .measure import Json, measured

WHATS = {
    "bare graph, an item a record": "bare",
    "bare graph, whole batches": "bare-batches",
    "the job": "job",
    "the job with refreshes": "job-refreshes",
    "VSKNN, recommending and learning only": "vsknn",
}


def main() -> None:
    """Measure, and print a table for each stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000, help="of each stream, from its beginning")
    options = parser.parse_args()
    print(described())
    with tempfile.TemporaryDirectory() as folder:
        for path in options.files or [_shop(Path(folder), options.events)]:
            plain = _unpacked(path, Path(folder))
            _table(path.name, _compared(plain, options.events, options.runs))


def _shop(folder: Path, events: int) -> Path:
    shop = ShopConfig(events=events, users=100_000, items=50_000, dirty=False)
    path = folder / "a simulated shop of 100,000 users and 50,000 items"
    path.write_bytes(b"".join(line + b"\n" for _, kind, line in shop_lines(shop) if kind == "behaviour"))
    return path


def _unpacked(path: Path, folder: Path) -> Path:
    if path.suffix != ".gz":
        return path
    plain = folder / path.stem
    with gzip.open(path, "rb") as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain


def _compared(path: Path, events: int, runs: int) -> dict[str, list[Json]]:
    results: dict[str, list[Json]] = {name: [] for name in WHATS}
    for _ in range(runs):
        for name, what in WHATS.items():
            results[name].append(measured(what, path, events))
    return results


def _table(stream: str, results: dict[str, list[Json]]) -> None:
    us = {name: median([run["seconds"] / run["events"] * 1e6 for run in runs]) for name, runs in results.items()}
    bare, job = us["bare graph, an item a record"], us["the job"]
    rows = []
    for name, runs in results.items():
        peak, out = (median([run[key] for run in runs]) for key in ("peak_mb", "bytes_out"))
        each = [f"{1e6 / us[name]:,.0f}", f"{us[name]:,.1f}", f"{us[name] / bare:,.1f}", f"{us[name] / job:,.2f}"]
        rows.append([name, *each, f"{out / runs[0]['events']:,.0f}" if out else "-", f"{peak:,.0f} MB"])
    columns = ["", "events/s", "us an event", "x bare", "x job", "bytes out an event", "peak memory"]
    show(f"{stream}, {next(iter(results.values()))[0]['events']:,} records", columns, rows)


if __name__ == "__main__":
    main()
