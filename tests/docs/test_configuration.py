"""The page on settings: its file and its environment are valid, and the variables that it names are read."""

import re
import shlex
from pathlib import Path

from freshflow.config.loader import load_config
from freshflow.streaming import job
from tests.docs.pages import DOCS, blocks, write_files

PAGE = DOCS / "reference" / "configuration.md"


def test_file_and_variables_of_the_page_set_the_configuration(tmp_path):
    write_files(PAGE, tmp_path)
    (block,) = blocks(PAGE, "sh")
    _, *pairs = shlex.split(block.text)
    config = load_config(tmp_path / "shop.toml", dict(pair.split("=", 1) for pair in pairs))
    assert (config.lists.k, config.lists.contributions, config.events.weights["listen"]) == (10, True, 2.0)
    options = {"security.protocol": "SASL_SSL", "sasl.password": "secret", "sasl.username": "shop"}
    assert config.kafka.options == options


def test_variables_of_the_page_are_those_that_the_job_reads():
    read = set(re.findall(r'"(FRESHFLOW_[A-Z_]+)"', Path(job.__file__).read_text("utf-8")))
    (said,) = re.findall(r"stand for options: (.*?)\n\n", PAGE.read_text("utf-8"), re.DOTALL)
    assert set(re.findall(r"`(FRESHFLOW_[A-Z_]+)`", said)) == read
