"""One simulated shop, clean, that most tests here look at."""

import json
from typing import Any

import pytest

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines

CONFIG = ShopConfig(events=20_000, users=500, items=400, requests=0.25, dirty=False)


@pytest.fixture(scope="session")
def config() -> ShopConfig:
    return CONFIG


@pytest.fixture(scope="session")
def stream() -> list[dict[str, Any]]:
    """Every line of the shop, in order."""
    return [json.loads(raw) for _, _, raw in shop_lines(CONFIG)]


@pytest.fixture(scope="session")
def events(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What visitors did."""
    return [line for line in stream if line["type"] not in ("item", "request")]
