"""The page on privacy: its pseudonyms are those of the job, and its variables are valid.

`tests/kafka/test_forgetting.py` tests forgetting on Kafka.
"""

import hmac
import shlex

from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.config.loader import load_config
from freshflow.events.pseudonyms import Pseudonyms
from tests.docs.pages import DOCS, blocks, commands

PAGE = DOCS / "explanation" / "privacy.md"
KEY = "0123456789abcdef0123456789abcdef"


def test_python_of_the_page_gives_the_pseudonym():
    (block,) = blocks(PAGE, "python")
    assert eval(block.text, {"hmac": hmac, "key": KEY, "user_id": "u7"}) == Pseudonyms(KEY).pseudonymise("u7")


def test_variables_switch_pseudonyms_on():
    (line,) = (block.text for block in blocks(PAGE, "sh") if "export" in block.text)
    _, *pairs = shlex.split(line.replace("$(openssl rand -hex 32)", KEY), comments=True)
    privacy = load_config(None, dict(pair.split("=") for pair in pairs)).privacy
    assert (privacy.pseudonymise, privacy.key) == (True, KEY)


def test_forget_command_has_the_options_named():
    ((name, user, *options),) = commands(PAGE)
    assert (name, user, options[::2]) == ("forget", "u7", ["--input", "--output"])
    told = CliRunner().invoke(app, ["forget", "--help"], env={"COLUMNS": "200"})
    assert all(option in told.output for option in options[::2])
