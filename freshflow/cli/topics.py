"""Command `freshflow topics`: creates the topics of a job."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from freshflow.cli.options import ConfigFile
from freshflow.config.loader import load_config
from freshflow.io.kafka.admin import TopicReport, build_topic_specs, create_topics
from freshflow.io.kafka.client import parse_kafka_servers

app = typer.Typer(no_args_is_help=True, help="Manage the topics of a job.")


@app.callback()
def topics() -> None:
    """Manage the topics of a job."""


@app.command()
def create(
    servers: Annotated[str, typer.Argument(metavar="kafka://HOST:PORT", help="The Kafka cluster.")],
    prefix: Annotated[str, typer.Option(help="Prefix of each topic's name, e.g. freshflow.")] = "",
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of events, recommendations and related.")] = 8,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition; 3 in production.")] = 1,
    config: ConfigFile = None,
) -> None:
    """Create events, recommendations, metrics, dead-letters and related; existing ones stay as they are."""
    settings = load_config(config, os.environ).kafka
    reports = create_topics(parse_kafka_servers(servers), settings, build_topic_specs(prefix, partitions, replication))
    Console().print(_table(reports))


def _table(reports: list[TopicReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("topic", "", "partitions", "note"):
        table.add_column(heading, justify="right" if heading == "partitions" else "left", overflow="fold")
    for report in reports:
        table.add_row(report.name, report.status, str(report.partitions), report.note)
    return table
