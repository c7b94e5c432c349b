"""Every command that is deployed or that a page tells to give has the options and arguments it is given."""

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from freshflow.cli.commands import load_command_app
from freshflow.config.loader import load_config

from .tools import DEPLOY, ROOT, containers, services

PAGES = (DEPLOY / "RUNBOOK.md", DEPLOY / "README.md", ROOT / "freshflow" / "docs" / "how-to" / "deploying.md")
# `.venv/bin/freshflow run …`, and what follows the service in `docker compose run --rm job run …`
WRONG = typer.BadParameter.__mro__[1]  # Click's UsageError, wherever Typer has Click from
CALLED = re.compile(r"(?:^|[\s/(])freshflow (?=[a-z])|compose run (?:-\S+ )*job (?=[a-z])")


def parse(words: list[str]) -> None:
    """Have the command line take the words, and run nothing."""
    name, *words = words
    command: Any = get_command(load_command_app(name))
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words))


def told(page: Path) -> list[str]:
    """The commands of FreshFlow in the blocks of a page, each from its first word to its end."""
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in re.split(r"&&|\|\|?|;|\s#", line)]
    return [CALLED.split(part, maxsplit=1)[1] for part in parts if CALLED.search(part)]


def words_of(command: list[str]) -> list[str]:
    """A command with what compose and Kubernetes put in for its variables."""
    return [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word).replace("$(KAFKA)", "kafka:9092") for word in command]


def test_commands_of_compose_and_kubernetes_are_taken() -> None:
    commands = [service["command"] for service in services().values() if "command" in service]
    commands += [container["args"] for container in containers() if "args" in container]
    assert len(commands) == 6
    for command in commands:
        parse(words_of(command))
        assert not re.search(r"\$[({]", " ".join(words_of(command))), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_pages_tell_are_taken(page: Path) -> None:
    for command in told(page):
        parse([word for word in shlex.split(command) if word not in ("$@", ">", "<")])


def test_pages_tell_commands() -> None:
    assert len([command for page in PAGES for command in told(page)]) >= 6


@pytest.mark.parametrize("command", ["run --input a", "topics make kafka://a:1", "run --input a --output b --wrong"])
def test_a_command_that_is_wrong_is_found(command: str) -> None:
    with pytest.raises((KeyError, WRONG)):
        parse(command.split())


def test_the_settings_of_kubernetes_are_settings() -> None:
    settings = DEPLOY / "kubernetes" / "freshflow.toml"
    load_config(settings, {})
    (processes,) = re.findall(r"--processes=(\d+)", (DEPLOY / "kubernetes" / "job.yaml").read_text())
    assert int(processes) <= tomllib.loads(settings.read_text("utf-8"))["job"]["partitions"]


def test_every_variable_of_the_example_is_a_setting() -> None:
    example = (DEPLOY / "freshflow.env.example").read_text("utf-8")
    variables = dict(line.split("=", 1) for line in re.findall(r"^#?(FRESHFLOW_\w+=.*)$", example, re.MULTILINE))
    assert len(variables) >= 6
    given = {name: value or "x" for name, value in variables.items()} | {"FRESHFLOW_PRIVACY_KEY": "k" * 32}
    options = load_config(None, given).kafka.options
    assert {name.upper().replace(".", "_") for name in options} == {
        name.removeprefix("FRESHFLOW_KAFKA_OPTIONS_") for name in variables if "_OPTIONS_" in name
    }


def test_scripts_that_the_runbook_calls_are_there_and_take_what_it_gives() -> None:
    text = (DEPLOY / "RUNBOOK.md").read_text("utf-8")
    called = set(re.findall(r"(?:python|<) (deploy/\w+\.py)", text))
    assert called == {f"deploy/{path.name}" for path in DEPLOY.glob("*.py")}
    assert all(os.access(ROOT / script, os.R_OK) for script in called)
