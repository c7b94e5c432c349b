"""Run the faults, print what came of each, and exit with 1 if anything was lost or ended otherwise than said."""

import argparse
import inspect
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.machine import described, show

from . import crashes, disks, outages, stops, topics
from .kafka import Broker
from .outcomes import COLUMNS, Outcome, rows_of

FAULTS = {
    name: function
    for module in (crashes, stops, outages, topics, disks)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name in module.__all__
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("broker", metavar="HOST:PORT", help="of tests/kafka/apache_kafka.sh, which is also stopped")
    parser.add_argument("--only", choices=FAULTS, metavar="NAME", help=", ".join(FAULTS))
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    began_s = time.monotonic()
    for name, fault in FAULTS.items():
        if options.only in (None, name):
            outcomes += _outcomes(name, fault, Broker(options.broker))
    print(described())
    show(f"{len(outcomes)} faults in {(time.monotonic() - began_s) / 60:.1f} minutes", COLUMNS, rows_of(outcomes))
    for one in outcomes:
        for sentence in one.wrong:
            print(f"{one.fault}: {sentence}")
    return int(not all(one.is_well for one in outcomes))


def _outcomes(name, fault, broker):
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
        outcomes = fault(Path(folder), broker)
    for one in outcomes:
        print(f"{time.monotonic() - began_s:5.0f} s  {one}", file=sys.stderr)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
