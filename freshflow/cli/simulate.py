"""Command `freshflow simulate`: writes the events of a simulated shop to a file."""

import os
import sys
import time
from collections import Counter
from typing import Annotated, Any

import typer

from freshflow.cli.clock import wall_clock_ms
from freshflow.errors import ConfigError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.pace import live_config, pace_lines
from freshflow.simulator.write import shop_lines, write_lines

NOISE_KINDS = ("duplicate", "late", "bot", "broken")
DEFAULT_CONFIG = ShopConfig()


def simulate(
    output: Annotated[
        str, typer.Option(help="File to write, gzipped where it ends in .gz; - is standard output.")
    ] = "-",
    events: Annotated[
        int, typer.Option(help="Events of visitors; catalogue entries, requests and noise are added.")
    ] = DEFAULT_CONFIG.events,
    users: Annotated[int, typer.Option(help="Greatest number of visitors.")] = DEFAULT_CONFIG.users,
    items: Annotated[int, typer.Option(help="Items of the catalogue, at least 20.")] = DEFAULT_CONFIG.items,
    days: Annotated[
        float | None,
        typer.Option(help="Days that the events span.", show_default="14, or more for many events"),
    ] = DEFAULT_CONFIG.days,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = DEFAULT_CONFIG.seed,
    requests: Annotated[
        float, typer.Option(help="Share of events preceded by a request for the user's list, 0 to 1.")
    ] = DEFAULT_CONFIG.requests,
    searches: Annotated[
        float, typer.Option(help="Share of items that are chosen from the results of a search, 0 to 1.")
    ] = DEFAULT_CONFIG.searches,
    shift: Annotated[
        int | None,
        typer.Option(help="Number of the event after which other items are related and popular.", show_default="never"),
    ] = DEFAULT_CONFIG.shift,
    embeddings: Annotated[
        int, typer.Option(help="Length of the vectors of items; 0: no vectors.")
    ] = DEFAULT_CONFIG.embeddings,
    rate: Annotated[
        float | None,
        typer.Option(help="Events per second, written in real time from now on.", show_default="all at once"),
    ] = None,
    clean: Annotated[bool, typer.Option("--clean", help="No duplicates, late events, bot and broken lines.")] = False,
) -> None:
    """Write the events of a simulated shop, to try FreshFlow on.

    Its visitors have tastes and habits that can be learned; items are launched and sell out, and a trend
    comes and goes. With --shift, learned relations suddenly become wrong. The same options give the same bytes,
    except with --rate, which stamps events with the time of writing and raises the number of visitors as needed.
    """
    shop_settings: dict[str, Any] = {
        "items": items,
        "seed": seed,
        "requests": requests,
        "dirty": not clean,
        "shift": shift,
        "searches": searches,
        "embeddings": embeddings,
    }
    if rate is None:
        config = ShopConfig(events=events, users=users, days=days, **shop_settings)
        lines = shop_lines(config)
    elif days is not None:
        raise ConfigError("--days and --rate both say how long the events take; give one of them.")
    else:
        config = live_config(rate, events, users, wall_clock_ms(), **shop_settings)
        lines = pace_lines(shop_lines(config), wall_clock_ms, time.sleep)
    try:
        kinds = write_lines(lines, output, flush_each_line=rate is not None)
    except BrokenPipeError:  # `freshflow simulate | head`: the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # avoids an error when Python flushes at exit
        return
    typer.echo(describe_output(config, kinds), err=True)


def describe_output(config: ShopConfig, kinds: Counter[str]) -> str:
    """Return a line with the numbers of lines, events, users, items and noise of each kind."""
    noise_text = ", ".join(f"{kinds[kind]:,} {kind}" for kind in NOISE_KINDS if kinds[kind])
    requests_text = f", {kinds['request']:,} requests" if kinds["request"] else ""
    requests_text += f", {kinds['search']:,} searches" if kinds["search"] else ""
    shift_text = f", shift at {config.shift:,}" if config.shift else ""
    return (
        f"Wrote {kinds.total():,} lines: {config.events:,} events of {config.users:,} users with "
        f"{config.items:,} items{requests_text}{shift_text}, {kinds['item']:,} catalogue entries; "
        f"noise: {noise_text or 'none'}."
    )
