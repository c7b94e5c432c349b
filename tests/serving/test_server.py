import signal
from pathlib import Path

import pytest

from freshflow.config.schema import Config, ServeConfig
from freshflow.serving.server import ServerUrls, run_server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_before_there_is_a_loop_ends_the_server(tmp_path: Path, number: signal.Signals) -> None:
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    settings = Config(serve=ServeConfig(port=0))
    run_server(ServerUrls(str(tmp_path / "lists.jsonl"), None, str(tmp_path / "lists.sqlite")), settings, say)
    assert len(said) == 1
    assert signal.getsignal(number) is before
