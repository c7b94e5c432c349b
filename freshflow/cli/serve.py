"""Command `freshflow serve`: serves the latest lists of a job over HTTP."""

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from freshflow.config.loader import load_config
from freshflow.errors import ConfigError

REQUIRED_PACKAGES = ("httptools", "starlette", "uvicorn")


def serve(
    lists: Annotated[
        str, typer.Option("--lists", metavar="URL", help="The job's lists: a path (.jsonl) or kafka://…/topic.")
    ],
    related: Annotated[str | None, typer.Option(metavar="URL", help="The job's related items; likewise.")] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="URL", help="The job's reports on itself, for the live page; likewise.")
    ] = None,
    dead_letters: Annotated[
        str | None, typer.Option(metavar="URL", help="The job's dead letters, for the live page; likewise.")
    ] = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="No live page; the page shows users' ids and lists to every visitor.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="The SQLite file of the lists, or redis://… [freshflow-serve.sqlite]"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen at. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [8080]")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The job's TOML file, for its tables serve and kafka.")
    ] = None,
) -> None:
    """Keep the latest list of every user in a store, and answer over HTTP, until SIGTERM.

    A live page is at /; GET /recommendations/{user}, /related/{item}, /healthz, /metrics; described at /openapi.json.
    """
    overrides: dict[str, dict[str, Any]] = {"serve": {"host": host, "port": port, "store": store}}
    settings = load_config(config, os.environ, overrides)
    check_server_packages()
    from freshflow.serving.dashboard.collector import DashboardSources
    from freshflow.serving.dashboard.routes import live_page
    from freshflow.serving.server import ServerUrls, system_time_ms
    from freshflow.serving.server import run_server as run

    sources = DashboardSources(metrics, dead_letters)
    page = partial(live_page, sources=sources, config=settings, clock=system_time_ms)
    server_options = {} if no_page else {"extra_routes": page}
    run(ServerUrls(lists, related, settings.serve.store), settings, partial(typer.echo, err=True), **server_options)


def check_server_packages() -> None:
    """Raise `ConfigError` if a package of the server is not installed."""
    missing_packages = [name for name in REQUIRED_PACKAGES if find_spec(name) is None]
    if missing_packages:
        raise ConfigError(
            f"freshflow serve needs {' and '.join(missing_packages)}, which is not installed: "
            "pip install 'freshflow[serve]'."
        )
