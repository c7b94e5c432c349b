"""A simulated shop as it happens."""

import json

import pytest

from freshflow.errors import ConfigError
from freshflow.simulator.lines import Line
from freshflow.simulator.pace import live_config, pace_lines
from freshflow.simulator.write import shop_lines

START_MS = 1_700_000_000_123


class Clock:
    """Time that passes while somebody waits, who may be woken up early."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ms += max(1, min(50, round(1000 * seconds)))


def test_each_line_comes_at_its_time_and_what_is_past_at_once() -> None:
    clock = Clock(1_000)
    lines: list[Line] = [(500, "view", b"a"), (1_000, "view", b"b"), (1_120, "view", b"c"), (900, "late", b"d")]
    came = [(clock.now_ms, raw) for _, _, raw in pace_lines(lines, clock, clock.wait)]
    assert came == [(1_000, b"a"), (1_000, b"b"), (1_120, b"c"), (1_120, b"d")]


@pytest.mark.parametrize("rate", [0.5, 20, 300])
def test_a_live_shop_begins_now_and_does_so_many_things_a_second(rate: float) -> None:
    config = live_config(rate, events=2_000, users=40, start_ms=START_MS, items=30, dirty=False)
    done = [event for line in shop_lines(config) if "user_id" in (event := json.loads(line[2]))]
    assert len(done) == 2_000
    assert config.start_ms == START_MS
    assert config.span_ms == pytest.approx(1000 * 2_000 / rate, rel=0.01)
    assert done[0]["ts"] >= START_MS


@pytest.mark.parametrize("rate", [0.0, -1.0, 10_001.0, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"rate = .* is not allowed: expected a number above 0 and up to 10000\."):
        live_config(rate, 10, 10, START_MS)
