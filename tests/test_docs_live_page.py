"""The page on the live page: its pictures are there and small, and its commands take the options that it names."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from freshflow.cli.commands import load_command_app

DOCS = Path(__file__).parents[1] / "freshflow" / "docs"
PAGE = (DOCS / "how-to" / "live-page.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("freshflow ")
]


def options_of(command: str) -> set[str]:
    """The options that a command takes."""
    return {name for parameter in get_command(load_command_app(command)).params for name in parameter.opts}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_takes_the_options_of_the_page(command: list[str]) -> None:
    assert {word for word in command if word.startswith("--")} <= options_of(command[1])


def test_options_that_are_named_in_a_sentence_are_there() -> None:
    named = set(re.findall(r"`(?:freshflow (?:run|serve|demo) )?(--[a-z-]+)`", PAGE))
    assert named > {"--rate", "--folder", "--metrics", "--no-page"}
    assert named <= options_of("demo") | options_of("serve")


def test_its_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"\]\(\.\./(images/\S+?)\)", PAGE)
    assert len(pictures) == 3
    assert all((DOCS / picture).stat().st_size < 200_000 for picture in pictures)
