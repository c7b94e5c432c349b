"""The page on variants: its files and commands, run in order, print the tables that it shows."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import freshflow
from freshflow.cli.main import app

PAGE = (Path(freshflow.__file__).parent / "docs/how-to/variants.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [text for of, text in BLOCKS if of == kind]


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for text in blocks("toml"):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    return tmp_path


def test_commands_print_the_tables_and_the_metrics_hold_the_record(
    folder: Path, freshflow: Callable[..., object]
) -> None:
    (simulate, run), (evaluate,) = (text.splitlines() for text in blocks("sh"))
    printed = []
    for command in (simulate, evaluate):
        done = CliRunner().invoke(app, command.split()[1:], env={"COLUMNS": "80"}, catch_exceptions=False)
        assert done.exit_code == 0
        printed.append(done.output)
    done = freshflow(*run.split()[1:])
    of_run, of_evaluation = map(lines, blocks("text"))
    assert lines(done.stderr)[-len(of_run) :] == of_run
    assert lines(printed[1])[-len(of_evaluation) :] == of_evaluation
    shown = json.loads(blocks("json")[0])
    last = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()][-1]
    assert shown | {"computed_at": 0} == pruned(last, shown) | {"computed_at": 0}


def pruned(whole: dict, like: dict) -> dict:
    """The keys of `whole` that are shown."""
    return {key: pruned(whole[key], value) if isinstance(value, dict) else whole[key] for key, value in like.items()}
