"""What URLs of the command line name."""

from pathlib import Path

import pytest

from freshflow.errors import ConfigError
from freshflow.io.url import check_distinct, sibling_path


def test_two_options_with_one_place_are_refused_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jsonl").symlink_to("x.jsonl")
    for other in ("x.jsonl", "./x.jsonl", str(tmp_path / "x.jsonl"), "link.jsonl"):
        with pytest.raises(ConfigError, match=r"^--input and --output both name "):
            check_distinct({"--input": "x.jsonl", "--output": other})
    for place in ("kafka://localhost:9092/metrics", "-"):
        with pytest.raises(ConfigError, match=r"^--output and --metrics both name "):
            check_distinct({"--input": "x.jsonl", "--output": place, "--dead-letters": None, "--metrics": place})


def test_different_places_and_both_standard_streams_are_allowed() -> None:
    check_distinct({"--input": "-", "--output": "-", "--dead-letters": None, "--metrics": "m.jsonl"})
    check_distinct({"--input": "kafka://localhost:9092/events", "--output": "kafka://localhost:9092/lists"})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out/lists.jsonl", "out/lists.dead-letters.jsonl"),
        ("lists.jsonl.gz", "lists.dead-letters.jsonl"),
        ("-", None),
        ("kafka://localhost:9092/lists", None),
    ],
)
def test_dead_letters_go_beside_an_output_file(output: str, expected: str | None) -> None:
    assert sibling_path(output, "dead-letters") == expected
