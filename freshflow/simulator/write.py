"""Generation of a simulated stream, and its output to a file."""

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
from freshflow.simulator.noise import add_noise
from freshflow.simulator.sessions import SessionSimulator
from freshflow.simulator.shop import SimulatedShop, build_shop
from freshflow.simulator.visitors import build_visitors

WRITE_BUFFER_BYTES = 1 << 20  # gzip in small writes would take most of the time


def shop_lines(config: ShopConfig, shop: SimulatedShop | None = None) -> Iterator[Line]:
    """Return all lines of a shop, as (event time in ms, kind, line), in order of arrival.

    Kinds are item, behaviour, request and search, and the noise kinds duplicate, late, bot and broken. Equal
    configurations give equal bytes on any machine with the same version of NumPy.

    `shop` replaces the shop of the configuration, for variations of it.
    """
    shop = shop or build_shop(config)
    clean_lines = SessionSimulator(shop, build_visitors(config, len(shop.by_leaf)), config).generate_lines()
    return add_noise(clean_lines, shop.evergreens, config) if config.dirty else clean_lines


def write_lines(lines: Iterable[Line], path: str, *, flush_each_line: bool = False) -> Counter[str]:
    """Write lines to a file, gzipped if its name ends in .gz, or to standard output for "-".

    Args:
        lines: The lines.
        path: The path of the file, or "-".
        flush_each_line: Flush after each line, for readers that follow the file; by default writes are buffered.

    Returns:
        The number of lines written, by kind.

    Raises:
        OutputError: The file cannot be written.
        BrokenPipeError: The reader of standard output has closed it.
    """
    kind_counts: Counter[str] = Counter()
    try:
        with _open_output(path) as file:
            for _, kind, raw in lines:
                file.write(raw)
                file.write(b"\n")
                if flush_each_line:
                    file.flush()
                kind_counts[kind] += 1
    except BrokenPipeError:
        raise
    except OSError as error:
        destination = "standard output" if path == "-" else path
        raise OutputError(f"Cannot write to {destination}: {error.strerror or error}.") from None
    return kind_counts


@contextmanager
def _open_output(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.endswith(".gz"):
        # No name or time in the header, so that equal events give equal bytes.
        with (
            Path(path).open("wb") as target,
            gzip.GzipFile("", "wb", 6, target, mtime=0) as gzip_file,
            BufferedWriter(gzip_file, WRITE_BUFFER_BYTES) as file,
        ):
            yield file
    else:
        with Path(path).open("wb", buffering=WRITE_BUFFER_BYTES) as plain_file:
            yield plain_file
