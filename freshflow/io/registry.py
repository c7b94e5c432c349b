"""The registry of URL schemes: sources, sinks, tails, lookups and checks of a URL.

Each scheme is one call of `register` in a module of its own: `BUILT_IN_MODULES` here, or a module named by a plugin.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from freshflow.config.schema import Config
from freshflow.errors import ConfigError
from freshflow.io.findings import Finding, passed
from freshflow.io.record import OutBatch
from freshflow.io.scheme import CheckOptions, Clock, LogReader, OffsetGroup, Scheme, SourceOptions, Tail
from freshflow.io.url import STDIN, scheme_name

if TYPE_CHECKING:
    from bytewax.inputs import Source
    from bytewax.outputs import Sink

    from freshflow.events.model import RawBatch

BUILT_IN_MODULES = ("freshflow.io.files.scheme", "freshflow.io.kafka.scheme")

_schemes: dict[str, Scheme] = {}
_modules_to_load = list(BUILT_IN_MODULES)

OperationT = TypeVar("OperationT")


def register(scheme: Scheme) -> None:
    """Add a scheme; raises `ConfigError` if its name is taken."""
    _load_built_in()
    if scheme.name in _schemes:
        raise ConfigError(f"The scheme {scheme.name}:// is already registered; give the other one another name.")
    _schemes[scheme.name] = scheme


def find_scheme(url: str) -> Scheme:
    """Return the scheme of a URL; raises `ConfigError` with the known schemes if none is registered."""
    scheme = _get_scheme(url)
    if scheme is None:
        *usages, last_usage = (known_scheme.usage for _, known_scheme in sorted(_schemes.items()))
        raise ConfigError(f"No scheme {scheme_name(url)}:// is registered; give {', '.join(usages)} or {last_usage}.")
    return scheme


def open_source(url: str, config: Config, options: SourceOptions) -> "Source[RawBatch]":
    """Open the source of a URL.

    Args:
        url: The job's input.
        config: The job's configuration.
        options: Clock, stop flag and position of the source.

    Raises:
        FreshFlowError: The input cannot be read. A broker is asked when the job starts.
    """
    return _require(find_scheme(url).open_source, url, "read as a job's input")(url, config, options)


def open_sink(url: str, config: Config) -> "Sink[tuple[str, OutBatch]]":
    """Open the sink of a URL; raises a `FreshFlowError` if it cannot be written. A broker is asked at the start."""
    return _require(find_scheme(url).open_sink, url, "written to")(url, config)


def open_tail(url: str, config: Config) -> Tail:
    """Open the tail of an output; raises a `FreshFlowError` if it cannot be read."""
    return _require(find_scheme(url).open_tail, url, "read as it grows")(url, config)


def open_log(url: str, config: Config, position: bytes | None, clock: Clock) -> LogReader:
    """Open a reader of a keyed log.

    Args:
        url: An output of the job.
        config: The configuration, with the connection and the age up to which a position is resumed.
        position: The stored position to continue from; None is the beginning.
        clock: Processing time in epoch milliseconds.

    Raises:
        FreshFlowError: The log cannot be read.
    """
    return _require(find_scheme(url).open_log, url, "read as it grows")(url, config, position, clock)


def look_up(url: str, user_id: str, config: Config) -> bytes | None:
    """Find the latest list of a user in an output.

    Args:
        url: An output of the job that holds lists.
        user_id: The user's id as published.
        config: The configuration, with the connection.

    Returns:
        The list as JSON; None if there is none, or a tombstone is later.

    Raises:
        FreshFlowError: The output cannot be read.
    """
    return _require(find_scheme(url).look_up, url, "searched for a user's list")(url, user_id, config)


def append_event(url: str, key: str, event: dict[str, str | int], config: Config) -> list[str]:
    """Append an event to a job's input.

    Args:
        url: The job's input.
        key: The record's key, where the scheme has keys.
        event: The fields of the event.
        config: The configuration, with the connection.

    Returns:
        Where the event was written, one entry a copy.

    Raises:
        FreshFlowError: The input cannot be appended to.
    """
    return _require(find_scheme(url).append_event, url, "appended to")(url, key, event, config)


def write_tombstone(url: str, key: str, config: Config) -> list[str]:
    """Append a tombstone behind all lists of a key.

    Args:
        url: An output of the job that holds lists.
        key: The user's id as published.
        config: The configuration, with the connection.

    Returns:
        Where the tombstone was written.

    Raises:
        FreshFlowError: The output does not take tombstones from outside the job, or cannot be written.
    """
    operation = find_scheme(url).write_tombstone
    if operation is None:
        raise ConfigError(
            f"The output {url} does not take tombstones from outside the job: leave --output out; the job marks the "
            "user as forgotten in its output when it reads the event."
        )
    return operation(url, key, config)


def open_offset_group(url: str, config: Config) -> OffsetGroup | None:
    """Open the consumer group that shows the job's progress; None if the input or the configuration has none."""
    operation = find_scheme(url).open_offset_group
    return None if operation is None else operation(url, config)


def check(url: str, config: Config, options: CheckOptions) -> Iterator[Finding]:
    """Yield findings on an input or output without changing it.

    Args:
        url: The input or output.
        config: The job's configuration.
        options: Subject, role and clock of the check.

    Raises:
        FreshFlowError: The place cannot be used at all.
    """
    scheme = find_scheme(url)
    if scheme.check is not None:
        yield from scheme.check(url, config, options)
        return
    if options.is_input:
        _require(scheme.open_source, url, "read as a job's input")
    else:
        open_sink(url, config)
    yield passed(options.subject, f"{url} is known; its scheme has no further check")


def is_live(url: str) -> bool:
    """Return whether an input may grow after its end was reached: a file does not, a topic and a pipe do."""
    return find_scheme(url).is_live


def max_dead_letter_bytes(url: str) -> int | None:
    """Return the largest part of a rejected record that a dead letter may hold; None means all of it."""
    return find_scheme(url).max_dead_letter_bytes


def truncate_output(url: str) -> None:
    """Empty an output: a sink is only built at its first record, so a job without any would keep an old file."""
    find_scheme(url).truncate(url)


def sibling_url(url: str, name: str) -> str | None:
    """Return a file beside the output, `out.jsonl` -> `out.<name>.jsonl`; None if the output is not a file."""
    scheme = _get_scheme(url)
    return None if scheme is None else scheme.sibling(url, name)


def check_distinct(urls: Mapping[str, str | None]) -> None:
    """Raise `ConfigError` if two options name the same place; standard input and output are two places."""
    option_by_target: dict[str, str] = {}
    for option, url in urls.items():
        if url is None or (url == STDIN and option == "--input"):
            continue
        scheme = _get_scheme(url)
        target = url if scheme is None else scheme.resolve(url)
        if target in option_by_target:
            raise ConfigError(f"{option_by_target[target]} and {option} both name {url}; give each a place of its own.")
        option_by_target[target] = option


def _get_scheme(url: str) -> Scheme | None:
    _load_built_in()
    return _schemes.get(scheme_name(url))


def _load_built_in() -> None:
    """Import the modules of the built-in schemes once; they call `register`, and so this function, themselves."""
    while _modules_to_load:
        import_module(_modules_to_load.pop(0))


def _require(operation: OperationT | None, url: str, purpose: str) -> OperationT:
    if operation is None:
        raise ConfigError(f"{url} cannot be {purpose}: its scheme does not support it; give another place.")
    return operation
