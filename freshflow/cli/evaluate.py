"""`freshflow evaluate`: how good the lists would have been over a file of events, beside simple recommenders."""

import os
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from freshflow.cli.comparison import paired_table
from freshflow.cli.options import ConfigFile
from freshflow.cli.shapes import Format, Map, shape
from freshflow.config.schema import load_config
from freshflow.errors import ConfigError, OutputError
from freshflow.evaluation.baselines.built_in import built_in
from freshflow.evaluation.chart import chart
from freshflow.evaluation.chart_png import png_of
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.paired_test import compare, encode_paired
from freshflow.evaluation.replay import Evaluated, evaluate_baselines, evaluate_job
from freshflow.evaluation.report import encode_evaluation, report_on
from freshflow.evaluation.report_table import print_report
from freshflow.evaluation.scores import Scores
from freshflow.io.url import check_distinct
from freshflow.ranking.ranker import model_factory
from freshflow.streaming.experiment import load_configs

__all__ = ["evaluate"]

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
WIDTH = 80  # of tables that are written to a file or a pipe


def evaluate(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="Events: a path (.jsonl, .csv, also .gz).")],
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Evaluate simple recommenders, too: popularity, rules, VSKNN, ...")
    ] = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write all figures as JSON.")] = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw HR@20 over the stream, to a .svg or a .png.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Score one event in so many; all are learned.")] = 1,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of users, each with a model of its own. [1]")
    ] = None,
    variants: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A.toml B.toml",
            help="Evaluate two configurations, each over --config, on all users, and compare them; see "
            "freshflow/docs/variants.md.",
        ),
    ] = None,
    format: Format = None,
    map: Map = None,
    config: ConfigFile = None,
) -> None:
    """Predict each event of a file from those before it, then learn from it, and say how good the lists were.

    HR@k is the share of events whose item stood among the first k of the list, MRR@20 the mean of 1 / rank, and
    NDCG@20 that of 1 / log2(1 + rank), 0 beyond the 20th place.
    """
    overrides: dict[str, dict[str, Any]] = {"job": {"partitions": partitions}, "events": shape(format, map)}
    check_distinct({"INPUT": input, "--json": json, "--plot": plot})
    for place in (json, plot):
        if place is not None and not Path(place).parent.is_dir():
            raise OutputError(f"The folder of the output {place} does not exist; create it first.")
    if plot is not None and Path(plot).suffix.lower() not in (".svg", ".png"):
        raise OutputError(f"The plot {plot} must end in .svg or .png.")
    if variants is not None:
        if baselines or plot is not None:
            raise ConfigError("--variants goes with neither --baselines nor --plot; evaluate the better one with them.")
        configs = load_configs(variants, config, os.environ, overrides)
        streams = [EvaluationStream(input, one, limit=limit, every=every) for one in configs]
        _compare(streams, json)
        return
    settings = load_config(config, os.environ, overrides)
    stream = EvaluationStream(input, settings, limit=limit, every=every)
    model_factory(settings.ranker.model)  # River takes a second or more to load, which is no event's fault

    with Console(stderr=True).status("reading") as status:
        job = evaluate_job(stream, time.perf_counter, lambda events: status.update(f"{events:,} events"))
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e6
        others: dict[str, Evaluated] = {}
        if baselines:
            others = evaluate_baselines(
                stream, built_in(), time.perf_counter, lambda events: status.update(f"baselines: {events:,} events")
            )
    report = report_on(stream, job, others, memory_mb)
    if json is not None:
        _write(json, encode_evaluation(report))
    if plot is not None:
        scores = {"FreshFlow": job.scores} | {name: one.scores for name, one in others.items()}
        drawn = chart(scores, stream.events)
        _write(plot, png_of(drawn) if Path(plot).suffix.lower() == ".png" else drawn.encode())
    print_report(report, _console())


def _compare(streams: Sequence[EvaluationStream], json: str | None) -> None:
    """Evaluate the configurations of streams over the same file one after the other, and print how they differ."""
    results: dict[str, Scores] = {}
    for stream in streams:
        model_factory(stream.config.ranker.model)
        name = stream.config.variant.name
        with Console(stderr=True).status("reading") as status:
            shown = partial(_show_events, status, name)
            results[name] = evaluate_job(stream, time.perf_counter, shown).scores
    comparison = compare(results)
    if json is not None:
        _write(json, encode_paired(comparison))
    _console().print(paired_table(comparison))


def _show_events(status: Status, name: str, events: int) -> None:
    status.update(f"{name}: {events:,} events")


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def _write(path: str, content: bytes) -> None:
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise OutputError(f"The output {path} cannot be written: {error.strerror}.") from None
