"""From a configuration to lines, and from lines to a file."""

import gzip
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import IO

from freshflow.errors import OutputError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.lines import Line
from freshflow.simulator.noise import with_noise
from freshflow.simulator.sessions import Walk
from freshflow.simulator.shop import Shop, build_shop
from freshflow.simulator.visitors import build_visitors

__all__ = ["shop_lines", "write_lines"]

BUFFER = 1 << 20  # bytes written at once; line by line, gzip takes most of the time


def shop_lines(config: ShopConfig, shop: Shop | None = None) -> Iterator[Line]:
    """Everything that a shop writes, as (event time in ms, kind, line), in the order in which it arrives.

    Kinds are item, behaviour and request, in order of time, and the noise: duplicate, late, bot and broken.
    The shop is that of the configuration, or a variation of it. The same configuration gives the same bytes, on any
    machine with the same version of numpy.
    """
    shop = shop or build_shop(config)
    clean = Walk(shop, build_visitors(config, len(shop.by_leaf)), config).lines()
    return with_noise(clean, shop.evergreens, config) if config.dirty else clean


def write_lines(lines: Iterable[Line], path: str, *, at_once: bool = False) -> Counter[str]:
    """Write lines to a file, gzipped where its name ends in .gz, or to standard output for "-"; each of them `at_once`
    for those who read along, or many together.

    Returns how many lines of each kind were written. Raises `OutputError` where the file cannot be written,
    and BrokenPipeError where the reader of standard output has gone away.
    """
    kinds: Counter[str] = Counter()
    try:
        with _opened(path) as file:
            for _, kind, raw in lines:
                file.write(raw)
                file.write(b"\n")
                if at_once:
                    file.flush()
                kinds[kind] += 1
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "standard output" if path == "-" else path
        raise OutputError(f"Cannot write to {where}: {error.strerror or error}.") from None
    return kinds


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.endswith(".gz"):
        # Neither name nor time in the header: the same events are the same bytes.
        with (
            Path(path).open("wb") as target,
            gzip.GzipFile("", "wb", 6, target, mtime=0) as packed,
            BufferedWriter(packed, BUFFER) as file,
        ):
            yield file
    else:
        with Path(path).open("wb", buffering=BUFFER) as plain:
            yield plain
