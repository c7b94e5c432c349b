"""What a URL of the command line names, by its text alone: a path, `-`, or `kafka://host:port/topic`."""

from pathlib import Path

from freshflow.errors import ConfigError

__all__ = ["STDIN", "STDOUT", "sibling_path", "check_distinct", "is_kafka", "is_unbounded"]

STDIN = STDOUT = "-"


def is_kafka(url: str) -> bool:
    """Whether a URL names a topic."""
    return url.startswith("kafka://")


def is_unbounded(url: str) -> bool:
    """Whether more may come from an input after what is there: a file has an end, a topic and a pipe wait."""
    return is_kafka(url) or url == STDIN


def check_distinct(urls: dict[str, str | None]) -> None:
    """Raise `ConfigError` if two options name the same file or topic; of --input, `-` is another place."""
    option_by_target: dict[str, str] = {}
    for option, url in urls.items():
        if url is None or (url == STDIN and option == "--input"):
            continue
        target = url if is_kafka(url) or url == STDOUT else str(Path(url).resolve())
        if target in option_by_target:
            raise ConfigError(f"{option_by_target[target]} and {option} both name {url}; give each a place of its own.")
        option_by_target[target] = option


def sibling_path(url: str, name: str) -> str | None:
    """A file beside the output, `out.jsonl` -> `out.<name>.jsonl`; None if the output is no file."""
    if is_kafka(url) or url == STDOUT:
        return None
    path = Path(url)
    return str(path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.jsonl')}.{name}.jsonl"))
