"""What a URL of the command line names, by its text alone: a path, `-`, or `kafka://host:port/topic`."""

from pathlib import Path

from freshflow.errors import ConfigError

__all__ = ["STDIN", "STDOUT", "beside", "check_distinct", "is_kafka", "is_live"]

STDIN = STDOUT = "-"


def is_kafka(url: str) -> bool:
    """Whether a URL names a topic."""
    return url.startswith("kafka://")


def is_live(url: str) -> bool:
    """Whether more may come from an input after what is there: a file has an end, a topic and a pipe wait."""
    return is_kafka(url) or url == STDIN


def check_distinct(urls: dict[str, str | None]) -> None:
    """Raise `ConfigError` if two options name the same file or topic; of --input, `-` is another place."""
    taken: dict[str, str] = {}
    for option, url in urls.items():
        if url is None or (url == STDIN and option == "--input"):
            continue
        place = url if is_kafka(url) or url == STDOUT else str(Path(url).resolve())
        if place in taken:
            raise ConfigError(f"{taken[place]} and {option} both name {url}; give each a place of its own.")
        taken[place] = option


def beside(url: str, name: str) -> str | None:
    """A file beside the output, `out.jsonl` -> `out.<name>.jsonl`; None if the output is no file."""
    if is_kafka(url) or url == STDOUT:
        return None
    path = Path(url)
    return str(path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.jsonl')}.{name}.jsonl"))
