"""The page on the live page: the options that its text names exist, and its pictures are small."""

import re

from typer.main import get_command

from freshflow.cli.commands import load_command_app
from tests.docs.pages import DOCS

PAGE = DOCS / "how-to" / "live-page.md"
TEXT = PAGE.read_text("utf-8")


def options_of(command: str) -> set[str]:
    return {name for parameter in get_command(load_command_app(command)).params for name in parameter.opts}


def test_options_named_in_the_text_exist():
    named = set(re.findall(r"`(?:freshflow (?:run|serve|demo) )?(--[a-z-]+)`", TEXT))
    assert named > {"--rate", "--folder", "--metrics", "--no-page"}
    assert named <= options_of("demo") | options_of("serve")


def test_pictures_are_below_200_kb():
    pictures = re.findall(r"\]\((\.\./images/\S+?)\)", TEXT)
    assert len(pictures) == 3
    assert all((PAGE.parent / picture).stat().st_size < 200_000 for picture in pictures)
