"""Every page with commands runs, and its output is compared; `page_runner` defines how each kind of block is run."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from freshflow.config.schema import Config
from tests.docs.page_runner import PageRunner
from tests.docs.pages import DOCS, PAGES, RUNNABLE, blocks, commands, parse_command
from tests.kafka.brokers import Tansu

# Pages whose commands cannot run here. The tests named check them, and `test_commands_have_known_options` does.
NOT_RUN = {
    "explanation/privacy.md": "needs a job on Kafka: tests/docs/test_privacy.py, tests/kafka/test_forgetting.py",
    "how-to/check.md": "prints versions and sizes of this machine: tests/cli/test_check.py",
    "how-to/extending.md": "needs PYTHONPATH: tests/docs/test_extending.py",
    "how-to/deploying.md": "needs Docker and Kubernetes: tests/deploy",
    "how-to/live-page.md": "runs until it is stopped: tests/serving/dashboard",
    "reference/metrics.md": "needs a running job on Kafka: tests/streaming/monitoring/test_prometheus.py",
}
NEED_BROKER = {"tutorial/getting-started.md"}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


RUN = [page for page in PAGES if blocks(page, *RUNNABLE) and name_of(page) not in NOT_RUN]


def with_marks(pages: list[Path]) -> list[object]:
    marks = {name: [pytest.mark.slow] for name in NEED_BROKER}
    return [pytest.param(page, marks=marks.get(name_of(page), ()), id=name_of(page)) for page in pages]


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start a broker for the pages that need one; return its address."""
    if name_of(request.getfixturevalue("page")) not in NEED_BROKER:
        yield ""
        return
    tansu = Tansu()
    try:
        yield tansu.address
    finally:
        tansu.kill()


@pytest.mark.parametrize("page", with_marks(RUN))
def test_page_commands_print_the_output_shown(
    page: Path, broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PageRunner(page, broker).run()


def test_pages_not_run_exist() -> None:
    assert NOT_RUN.keys() <= {name_of(page) for page in PAGES if blocks(page, *RUNNABLE)}


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_commands_have_known_options(page: Path) -> None:
    for command in commands(page):
        parse_command(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_toml_without_a_file_name_shows_the_defaults(page: Path) -> None:
    for block in blocks(page, "toml"):
        if not block.name:
            defaults = msgspec.to_builtins(Config())
            for section, values in tomllib.loads(block.text).items():
                assert values == {key: defaults[section][key] for key in values}
