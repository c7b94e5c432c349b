"""The tutorial: a newcomer who types what it says sees what it shows."""

from pathlib import Path

import pytest

from tests.docs.walk import run_page
from tests.kafka.brokers import Tansu


@pytest.mark.slow
def test_every_step_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tansu = Tansu()
    try:
        run_page("tutorial/getting-started.md", tansu.address)
    finally:
        tansu.kill()
