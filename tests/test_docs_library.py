"""The page on the library: its example prints what it shows."""

from pathlib import Path

import pytest

from tests.docs.walk import run_page


def test_what_the_page_says_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("how-to/library.md")
