"""Registration of paths and standard streams as schemes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from freshflow.config.schema import Config
from freshflow.events.formats.registry import create_layout_finder
from freshflow.io.files.append import append_to_file
from freshflow.io.files.check import check_input_file, check_output_file, check_standard_stream
from freshflow.io.files.log import FileLog
from freshflow.io.files.lookup import look_up_list
from freshflow.io.files.tail import FileTail
from freshflow.io.findings import Finding
from freshflow.io.record import OutBatch
from freshflow.io.registry import register
from freshflow.io.scheme import CheckOptions, Scheme, SourceOptions
from freshflow.io.url import STDIN

if TYPE_CHECKING:
    from bytewax.inputs import Source
    from bytewax.outputs import Sink

    from freshflow.events.model import RawBatch


def open_file_source(url: str, config: Config, options: SourceOptions) -> "Source[RawBatch]":
    """Open a file of events; raises `InputError` if it cannot be read."""
    from freshflow.io.files.source import FileSource

    return FileSource(
        url,
        config.job.batch_size,
        max_bytes=config.events.max_bytes,
        clock=options.clock,
        should_stop=options.should_stop,
        find_layout=create_layout_finder(config.events),
    )


def open_stdin_source(url: str, config: Config, options: SourceOptions) -> "Source[RawBatch]":
    """Open standard input."""
    from freshflow.io.files.stdin import StdinSource

    return StdinSource(
        config.job.batch_size,
        max_bytes=config.events.max_bytes,
        clock=options.clock,
        should_stop=options.should_stop,
    )


def open_file_sink(url: str, config: Config) -> "Sink[tuple[str, OutBatch]]":
    """Open a file of records or standard output; raises `OutputError` if it cannot be written."""
    from freshflow.io.files.sink import FileSink

    return FileSink(url)


def check_path(url: str, config: Config, options: CheckOptions) -> Iterator[Finding]:
    """Yield a finding on a file; raises a `FreshFlowError` if it cannot be read or written."""
    if options.is_input:
        yield check_input_file(url, config, options)
    else:
        open_file_sink(url, config)
        yield check_output_file(url, options)


def truncate_file(url: str) -> None:
    """Empty a file if it exists."""
    if Path(url).exists():
        Path(url).write_bytes(b"")


def resolve_path(url: str) -> str:
    """Return the absolute path behind links."""
    return str(Path(url).resolve())


def sibling_file(url: str, name: str) -> str:
    """Return the path of a file beside another: `out.jsonl` -> `out.<name>.jsonl`."""
    path = Path(url)
    return str(path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.jsonl')}.{name}.jsonl"))


register(
    Scheme(
        name="",
        usage="a path",
        open_source=open_file_source,
        open_sink=open_file_sink,
        open_tail=lambda url, config: FileTail(url),
        open_log=lambda url, config, position, clock: FileLog(url, position),
        look_up=lambda url, user_id, config: look_up_list(url, user_id),
        append_event=lambda url, key, event, config: append_to_file(url, event, config.events.max_bytes),
        check=check_path,
        truncate=truncate_file,
        resolve=resolve_path,
        sibling=sibling_file,
    )
)
register(
    Scheme(
        name=STDIN,
        usage=STDIN,
        is_live=True,
        open_source=open_stdin_source,
        open_sink=open_file_sink,
        check=check_standard_stream,
    )
)
