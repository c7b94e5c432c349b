"""The page on exploration: its commands run, and its estimator prints what the page shows."""

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import freshflow as package

PAGE = (Path(package.__file__).parent / "docs/how-to/exploration.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def test_the_estimator_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "explore.toml").write_text(BLOCKS["toml"])
    for command in BLOCKS["sh"].splitlines():
        done = freshflow(*command.split()[1:])
        assert done.returncode == 0, done.stderr
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(BLOCKS["python"], {})
    assert printed.getvalue() == BLOCKS["text"]
