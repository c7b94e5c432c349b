"""One run of one thing over a file, in a process of its own: `python -m tests.bench.measure WHAT INPUT [LIMIT]`.

Prints what was measured as JSON: events, seconds from the first record read to the last one written, peak memory.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from freshflow.cluster.protocol import JobSpec
from freshflow.cluster.supervisor import run_cluster
from freshflow.config.loader import load_config
from freshflow.config.schema import Config, RefreshConfig
from freshflow.evaluation.baselines.vsknn import VSKNN
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.replay import evaluate_baselines
from freshflow.io.registry import open_sink, open_source
from freshflow.io.scheme import SourceOptions
from freshflow.state.backend import StateBackend
from freshflow.streaming.job import JobUrls, assemble, prepare, run_flow, system_clock
from freshflow.streaming.monitoring.progress import JobStats

__all__ = ["ROOT", "Json", "measured"]

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
WARM_UP = 500  # events for which the job is run before, so that nothing is left to compile


def measured(what: str, path: Path, limit: int | None = None, **settings: object) -> Json:
    """What `python -m tests.bench.measure` prints; `job_epoch_s=1` sets FRESHFLOW_JOB_EPOCH_S."""
    named = {f"FRESHFLOW_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "tests.bench.measure", what, str(path), *([str(limit)] if limit else [])]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | named, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout)  # type: ignore[no-any-return]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bare(flow_of: Callable[[Any, Any], None], path: str, output: str, config: Config) -> Json:
    """The time of a graph between our source and our sink."""
    times: list[float] = []

    def clock() -> int:
        times.append(time.perf_counter())
        return system_clock()

    flow = Dataflow("bare")
    source = open_source(path, config, SourceOptions(clock=clock, should_stop=lambda: False, until_end=True))
    flow_of(op.input("source", flow, source), open_sink(output, config))
    cli_main(flow)
    return {"seconds": time.perf_counter() - times[0]}


def _by_record(raw: Any, sink: Any) -> None:
    """JSON in, a keyed step that changes nothing, JSON out: an item a record, keyed by user, as one writes it first."""
    events = op.flat_map("decode", raw, lambda batch: [msgspec.json.decode(record) for _, record in batch.records])
    keyed = op.key_on("key", events, lambda event: str(event["user_id"]))
    same = op.stateful_map("same", keyed, lambda state, event: (None, event))
    out = op.map("encode", same, lambda pair: ("", [(pair[0].encode(), msgspec.json.encode(pair[1]))]))
    op.output("sink", out, sink)


def _by_batch(raw: Any, sink: Any) -> None:
    """The same with whole batches as items and one key, as our own graph has them."""
    events = op.map("decode", raw, lambda batch: ("0", [msgspec.json.decode(record) for _, record in batch.records]))
    same = op.stateful_map("same", events, lambda state, batch: (None, batch))
    out = op.map("encode", same, lambda pair: ("", [(b"", msgspec.json.encode(event)) for event in pair[1]]))
    op.output("sink", out, sink)


def _job(path: str, output: str, config: Config, processes: int) -> Json:
    """The whole job."""
    places, progress = JobUrls(path, output), JobStats()
    if processes == 1:
        run_flow(assemble(places, config, progress, lambda: False, state_backend=StateBackend()), config, None)
    else:
        prepare(places, config, is_resuming=False)
        run_cluster(JobSpec(places, config, None), processes, progress, lambda: False)
    figures = {name: progress.mean_quality(name) for name in ("hr20", "mrr20", "published_hr20")}
    return {"seconds": progress.duration_s(), "lists": progress.n_lists, **figures}


def _vsknn(path: str, config: Config, limit: int | None) -> Json:
    """The baseline of the evaluation: it recommends and learns its index, and publishes nothing."""
    stream = EvaluationStream(path, config, max_events=limit)
    seconds = evaluate_baselines(stream, {"vsknn": VSKNN()}, time.perf_counter)["vsknn"].duration_s
    return {"seconds": seconds, "events": stream.n_events}


def _write_first(path: str, part: Path, limit: int | None) -> int:
    """Write the first lines of a file to another; how many there are."""
    with Path(path).open("rb") as whole, part.open("wb") as file:
        return sum(file.write(line) > 0 for line in islice(whole, limit))


def main(what: str, path: str, limit: int | None) -> None:
    """Measure once and print."""
    config = load_config(environment=os.environ)
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/out.jsonl"
        part, warm = Path(folder) / "part.jsonl", Path(folder) / "warm.jsonl"
        events = _write_first(path, part, limit)
        _write_first(path, warm, WARM_UP)
        if what.startswith("job"):
            if not what.endswith("refreshes"):
                config = msgspec.structs.replace(config, refresh=RefreshConfig(interval_s=0))
            processes = 2 if "two" in what else 1
            config = msgspec.structs.replace(config, job=msgspec.structs.replace(config.job, partitions=processes))
            _job(str(warm), output, config, 1)  # compiles
            result = _job(str(part), output, config, processes)
        elif what == "vsknn":
            result = _vsknn(str(part), config, limit)
        else:
            result = _bare({"bare": _by_record, "bare-batches": _by_batch}[what], str(part), output, config)
        written = Path(output).stat().st_size if Path(output).exists() else 0
    print(json.dumps({"events": events, "bytes_out": written, "peak_mb": _peak_mb()} | result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
