"""Command `freshflow evaluate`: measures list quality over a file of events, optionally against baselines."""

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
from freshflow.cli.shapes import FormatOption, MapOption, event_overrides
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError, OutputError
from freshflow.evaluation.baselines.built_in import create_baselines
from freshflow.evaluation.chart import render_svg
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.paired_test import compare_paired, encode_paired_comparison
from freshflow.evaluation.replay import EvaluationResult, evaluate_baselines, evaluate_job
from freshflow.evaluation.report import build_evaluation_report, encode_evaluation
from freshflow.evaluation.report_table import print_report
from freshflow.evaluation.scores import Scores
from freshflow.io.registry import check_distinct
from freshflow.ranking.ranker import load_model_factory
from freshflow.streaming.experiment import load_configs

RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss, in bytes
TABLE_WIDTH = 80  # width of tables written to a file or a pipe


def evaluate(
    input: Annotated[str, typer.Argument(metavar="INPUT", help="Events: a path (.jsonl, .csv, also .gz).")],
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Evaluate simple recommenders, too: popularity, rules, VSKNN, ...")
    ] = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write all figures as JSON.")] = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw HR@20 over the stream, to an .svg file.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Score one event in this many; all are learned.")] = 1,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of users, each with a model of its own. [1]")
    ] = None,
    variants: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A.toml B.toml",
            help="Evaluate two configurations, each over --config, on all users, and compare them; see "
            "freshflow/docs/how-to/variants.md.",
        ),
    ] = None,
    format: FormatOption = None,
    map: MapOption = None,
    config: ConfigFile = None,
) -> None:
    """Predict each event of a file from those before it, then learn it, and report list quality.

    HR@k is the share of events with their item among the first k of the list, MRR@20 the mean of 1 / rank, and
    NDCG@20 that of 1 / log2(1 + rank), 0 beyond the 20th place.
    """
    overrides: dict[str, dict[str, Any]] = {"job": {"partitions": partitions}, "events": event_overrides(format, map)}
    check_distinct({"INPUT": input, "--json": json, "--plot": plot})
    for output_path in (json, plot):
        if output_path is not None and not Path(output_path).parent.is_dir():
            raise OutputError(f"The folder of the output {output_path} does not exist; create it first.")
    if plot is not None and Path(plot).suffix.lower() != ".svg":
        raise OutputError(f"The plot {plot} must end in .svg.")
    if variants is not None:
        if baselines or plot is not None:
            raise ConfigError(
                "--variants cannot be combined with --baselines or --plot; evaluate one variant alone with them."
            )
        configs = load_configs(variants, config, os.environ, overrides)
        streams = [EvaluationStream(input, entry, max_events=limit, score_every=every) for entry in configs]
        _compare_variants(streams, json)
        return
    settings = load_config(config, os.environ, overrides)
    stream = EvaluationStream(input, settings, max_events=limit, score_every=every)
    load_model_factory(settings.ranker.model)  # keeps River's import, a second or more, out of the timing

    with Console(stderr=True).status("reading") as status:
        job_result = evaluate_job(stream, time.perf_counter, lambda events: status.update(f"{events:,} events"))
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES / 1e6
        baseline_results: dict[str, EvaluationResult] = {}
        if baselines:
            baseline_results = evaluate_baselines(
                stream,
                create_baselines(),
                time.perf_counter,
                lambda events: status.update(f"baselines: {events:,} events"),
            )
    report = build_evaluation_report(stream, job_result, baseline_results, memory_mb)
    if json is not None:
        _write_output(json, encode_evaluation(report))
    if plot is not None:
        scores = {"FreshFlow": job_result.scores} | {name: entry.scores for name, entry in baseline_results.items()}
        svg = render_svg(scores, stream.n_events)
        _write_output(plot, svg.encode())
    print_report(report, _console())


def _compare_variants(streams: Sequence[EvaluationStream], json_path: str | None) -> None:
    """Evaluate the configurations over the same file one after the other, and print their differences."""
    results: dict[str, Scores] = {}
    for stream in streams:
        load_model_factory(stream.config.ranker.model)
        name = stream.config.variant.name
        with Console(stderr=True).status("reading") as status:
            on_progress = partial(_show_events, status, name)
            results[name] = evaluate_job(stream, time.perf_counter, on_progress).scores
    comparison = compare_paired(results)
    if json_path is not None:
        _write_output(json_path, encode_paired_comparison(comparison))
    _console().print(paired_table(comparison))


def _show_events(status: Status, name: str, events: int) -> None:
    status.update(f"{name}: {events:,} events")


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)


def _write_output(path: str, content: bytes) -> None:
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise OutputError(f"The output {path} cannot be written: {error.strerror}.") from None
