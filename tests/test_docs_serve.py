"""The page on serving: its commands run, its questions get its answers, its settings are the defaults."""

import http.client
import json
import re
import shlex
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from freshflow.config.schema import ServeConfig
from freshflow.serving.openapi import PATHS
from tests.conftest import Finished, Running

PAGE = (Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "serve.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def asked(port: int, url: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", url.removeprefix("http://127.0.0.1:8080"))
    body: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return body


def test_the_commands_run_and_the_questions_get_the_answers_of_the_page(
    freshflow: Callable[..., Finished], start: Callable[..., Running]
) -> None:
    _, commands = blocks("sh")
    *before, serving = commands.splitlines()
    for line in before:
        assert freshflow(*shlex.split(line)[1:]).returncode == 0
    server = start("freshflow.cli.main", *shlex.split(serving)[1:], "--port", 0)
    assert server.stderr is not None
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)$", server.stderr.readline())
    while asked(port, "/healthz")["status"] != "ok":
        time.sleep(0.02)
    (session,) = blocks("console")
    questions = re.findall(r"^\$ curl '(.*)'\n(.*)$", session, re.MULTILINE)
    assert len(questions) == 3
    for question, answer in questions:
        assert asked(port, question) | {"computed_at": 0} == json.loads(answer) | {"computed_at": 0}


def test_the_settings_are_the_defaults_and_every_path_is_told() -> None:
    (settings,) = blocks("toml")
    assert msgspec.convert(tomllib.loads(settings)["serve"], ServeConfig) == ServeConfig()
    assert re.findall(r"^\| `(/\S+)` \|", PAGE, re.MULTILINE) == list(PATHS)
