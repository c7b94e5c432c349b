"""Bots among the visitors of simulated shops: they are caught, and no visitor is taken for one."""

from collections import Counter

import pytest

from freshflow.config.schema import Config
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.noise import bot_user
from freshflow.simulator.write import shop_lines
from freshflow.users.store import UserStore
from freshflow.users.updates import BotEvent, UserInteraction


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("events", "users"), [(8_000, 200), (20_000, 30)])
def test_of_a_shop_the_bot_is_noise_and_nobody_else(seed, events, users):
    shop = ShopConfig(events=events, users=users, items=100, seed=seed)
    records = tuple((n, raw) for n, (_, _, raw) in enumerate(shop_lines(shop), start=1))
    read, _ = EventParser(Config().events).parse(RawBatch(Origin("file", "shop"), records, 0))
    made = UserStore.for_partition(Config())
    steps = made.process(read)
    noise = Counter(step.event.user_id for step in steps if isinstance(step, BotEvent))
    learned = Counter(step.event.user_id for step in steps if isinstance(step, UserInteraction))
    bot = f"u{bot_user(shop) + 1}"
    assert noise.keys() == {bot}
    assert noise[bot] == made.counts["noise_rate"]
    assert learned[bot] < 2 * Config().noise.events
