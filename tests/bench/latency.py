"""`make bench-kafka`: from an event produced to its list consumed, through a real broker, with recovery on.

    python -m tests.bench.latency BROKER [--rate N] [--seconds N] [--processes N] [--share X ...]

A job runs as users start it. Events of a simulated shop are produced at a steady rate, to as many partitions of a topic
as there are shares, each its share of them; for each list that an event of a user caused, the time from the call of
`produce` to its arrival at a consumer is counted, and where it was spent.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from tests.kafka.brokers import make_topic

from .machine import described, show

WARM_UP_S = 20.0  # not counted: the job starts, and the events that were waiting for it are lists first
END_S = 60.0  # for the last lists to arrive


Place = tuple[int, int]  # partition and offset
Times = dict[Place, float]


class _Source(msgspec.Struct):
    partition: int
    offset: int


class _List(msgspec.Struct):
    source: _Source
    cause: str
    computed_at: int


class Arrivals(threading.Thread):
    """Consumes lists; by the place of the event that caused them, when they were made and when they arrived (s)."""

    def __init__(self, broker: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.made: Times = {}
        self.arrived: Times = {}
        self.lists = 0
        self._ended = threading.Event()
        self._consumer = Consumer({"bootstrap.servers": broker, "group.id": "bench", "fetch.wait.max.ms": 10})
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def run(self) -> None:
        decode = msgspec.json.Decoder(_List).decode
        while not self._ended.is_set():
            message = self._consumer.poll(0.1)  # to ask for several at once would wait for them
            if message is None or message.error() is not None or message.value() is None:
                continue
            now_s, one = time.time(), decode(message.value())
            self.lists += 1
            if one.cause == "interaction":
                place = one.source.partition, one.source.offset
                self.made[place] = one.computed_at / 1000
                self.arrived[place] = now_s
        self._consumer.close()

    def end(self) -> None:
        self._ended.set()
        self.join()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("broker", metavar="HOST:PORT")
    parser.add_argument("--rate", type=int, default=1000, help="events a second")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--share", type=float, nargs="+", default=[1.0], help="of the events, by partition of the topic"
    )
    options = parser.parse_args()
    print(described())
    topics = [
        make_topic(options.broker, f"bench-{name}-{uuid.uuid4().hex[:8]}", partitions)
        for name, partitions in (("events", len(options.share)), ("lists", 1))
    ]
    arrivals = Arrivals(options.broker, topics[1])
    arrivals.start()
    with tempfile.TemporaryDirectory() as folder:
        job = _job(options.broker, *topics, folder, options.processes)
        produced = _produce(options, topics[0])
        _wait(arrivals)
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    arrivals.end()
    _report(options, produced, arrivals)


def _job(broker: str, events: str, lists: str, folder: str, processes: int) -> subprocess.Popen[bytes]:
    places = ["--input", f"kafka://{broker}/{events}", "--output", f"kafka://{broker}/{lists}"]
    command = [sys.executable, "-m", "freshflow.cli.main", "run", *places, "--recovery", f"{folder}/state"]
    command += ["--processes", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    log = Path("/dev/null").open("wb")  # noqa: SIM115  # as long as the job
    return subprocess.Popen([*command, "--dead-letters", f"{folder}/rejected.jsonl"], env=environment, stderr=log)


def _produce(options: argparse.Namespace, topic: str) -> Times:
    """Produce at an even rate; when each event was produced (s)."""
    rate, partitions = options.rate, len(options.share)
    shop = ShopConfig(events=rate * options.seconds, users=20_000, items=5_000, dirty=False)
    lines = [raw for _, kind, raw in shop_lines(shop) if kind == "behaviour"]
    shares = np.array(options.share) / sum(options.share)
    chosen = np.random.default_rng(1).choice(partitions, len(lines), p=shares).tolist()
    producer = Producer({"bootstrap.servers": options.broker, "linger.ms": 0, "enable.idempotence": True})
    produced: Times = {}
    offsets = [0] * partitions
    began_s = time.time()
    for n, (line, partition) in enumerate(zip(lines, chosen, strict=True)):
        wait_s = began_s + n / rate - time.time()
        if wait_s > 0:
            producer.poll(0)
            time.sleep(wait_s)
        produced[partition, offsets[partition]] = time.time()
        offsets[partition] += 1
        producer.produce(topic, line, partition=partition)
    assert producer.flush(30) == 0
    return produced


def _wait(arrivals: Arrivals) -> None:
    """Until the list of the last event that changed one has arrived, and nothing more comes."""
    end_s, before = time.time() + END_S, -1
    while time.time() < end_s and arrivals.lists != before:
        before = arrivals.lists
        time.sleep(2.0)


def _report(options: argparse.Namespace, produced: Times, arrivals: Arrivals) -> None:
    from_s = min(produced.values()) + WARM_UP_S
    counted = [place for place in arrivals.arrived if produced[place] >= from_s]
    rows = []
    for partition in [None, *range(len(options.share))] if len(options.share) > 1 else [None]:
        of = [place for place in counted if partition in (None, place[0])]
        sent, made, arrived = (
            np.array([times[at] for at in of]) for times in (produced, arrivals.made, arrivals.arrived)
        )
        parts = {
            "event to list": arrived - sent,
            "  produced to made": made - sent,
            "  made to consumed": arrived - made,
        }
        for name, seconds in parts.items():
            figures = (*np.percentile(seconds, [50, 90, 99, 99.9]), seconds.max())
            of_what = "" if partition is None else f", partition {partition}"
            rows.append([name + of_what, *(f"{1000 * value:,.1f}" for value in figures)])
    title = (
        f"{options.rate:,} events a second for {options.seconds} s: {len(counted):,} lists of {arrivals.lists:,}, "
        f"the first {WARM_UP_S:.0f} s left out"
    )
    show(title, ["ms", "p50", "p90", "p99", "p99.9", "most"], rows)


if __name__ == "__main__":
    main()
