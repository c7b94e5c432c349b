"""`freshflow demo`: what is fed to the job, and how the whole ends."""

import json
import queue
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from freshflow.cli.demo import ITEMS_PER_DEPARTMENT, N_WINDOW_DEPARTMENTS, describe_shop_items, feed_events
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.lines import Line
from freshflow.simulator.shop import build_shop, shift_shop, with_shifted_catalogue
from freshflow.simulator.write import shop_lines
from tests.conftest import Finished, Running

CONFIG = ShopConfig(events=4_000, users=100, items=400, shift=1, dirty=False)


def test_clicks_are_written_as_they_come_and_what_is_past_goes_first() -> None:
    clicks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    for click in (b"click", None):
        clicks.put(click)
    lines: list[Line] = [(1, "view", b"a"), (1_000, "view", b"b"), (10**8, "view", b"in the future")]
    written: list[bytes] = []
    feed_events(lines, clicks, written.append, lambda: 1_000)
    assert written == [b"a", b"b", b"click"]


def test_a_shop_that_is_over_goes_on_with_clicks() -> None:
    clicks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    for click in (b"one", b"two", None):
        clicks.put(click)
    written: list[bytes] = []
    feed_events([(1, "view", b"a")], clicks, written.append, lambda: 1_000)
    assert written == [b"a", b"one", b"two"]


def test_the_window_has_full_shelves_of_items_that_are_always_there() -> None:
    shop = with_shifted_catalogue(build_shop(CONFIG), CONFIG)
    items, in_window = describe_shop_items(shop, CONFIG)
    by_id = {item["item_id"]: item for item in items}
    assert len(items) == CONFIG.items
    assert len(in_window) == len(set(in_window)) == N_WINDOW_DEPARTMENTS * ITEMS_PER_DEPARTMENT
    assert len({by_id[item]["category"].split()[0] for item in in_window}) == N_WINDOW_DEPARTMENTS
    assert len({by_id[item]["title"] for item in in_window}) == len(in_window)
    assert set(in_window) <= {f"i{item + 1}" for item in shift_shop(shop, CONFIG).evergreens}


def test_after_the_shift_what_goes_together_is_described_as_one_category() -> None:
    """As in a shop without a shift; the catalogue of one with it no longer fits."""

    def in_one_category(lines: list[Line]) -> float:
        events = [json.loads(line[2]) for line in lines]
        category = {one["item_id"]: one["categories"][-1] for one in events if one.get("categories")}
        last: dict[str, str] = {}
        same = []
        for one in events:
            if one["type"] == "view":
                if one["user_id"] in last:
                    same.append(category[one["item_id"]] == category[last[one["user_id"]]])
                last[one["user_id"]] = one["item_id"]
        return sum(same) / len(same)

    plain = ShopConfig(events=4_000, users=100, items=400, dirty=False)
    found = in_one_category(list(shop_lines(CONFIG, with_shifted_catalogue(build_shop(CONFIG), CONFIG))))
    assert found == pytest.approx(in_one_category(list(shop_lines(plain))), abs=0.05)
    assert found > 2 * in_one_category(list(shop_lines(CONFIG)))


@pytest.fixture
def demo(start: Callable[..., Running]) -> Callable[..., tuple[Running, str]]:
    """Start `freshflow demo` with few events; the process and the address it prints."""

    def demo(*options: object, **settings: object) -> tuple[Running, str]:
        process = start("freshflow.cli.main", "demo", "--rate", 1, "--folder", "kept", *options, **settings)
        assert process.stdout is not None
        said = process.stdout.readline()
        (address,) = re.findall(r"^The demo is at (http://127\.0\.0\.1:\d+)\. Ctrl-C ends it\.$", said)
        return process, address

    return demo


def test_ctrl_c_ends_the_job_and_the_server_without_a_word(
    tmp_path: Path, demo: Callable[..., tuple[Running, str]], finish: Callable[[Running], Finished]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, address = demo("--port", port)
    assert port < int(address.rpartition(":")[2]) < port + 20
    job = only_child(process.pid)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not Path(f"/proc/{job}").exists()
    assert (tmp_path / "kept" / "events.jsonl").stat().st_size > 0


def test_a_job_that_fails_ends_the_demo_with_its_sentence(
    demo: Callable[..., tuple[Running, str]], finish: Callable[[Running], Finished]
) -> None:
    process, _ = demo("--port", 0, ranker_model="no.such:model")
    ended = finish(process)
    assert ended.returncode == 1
    assert re.fullmatch(r"freshflow: The job of the demo has ended: ranker\.model = .* cannot be .*\n", ended.stderr)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path, freshflow: Callable[..., Finished]) -> None:
    (tmp_path / "file").write_text("")
    ended = freshflow("demo", "--folder", "file")
    assert ended.returncode == 1
    assert ended.stderr == "freshflow: The demo cannot use the folder file: File exists; give another --folder.\n"


def only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
