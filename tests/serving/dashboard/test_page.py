"""The live page in a real browser: a click in the demo's shop changes the list on the screen, also without a mouse."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import job_environment
from tests.serving.dashboard.browser import CHROMIUM, DRIVER, IS_WANTED, chromium, emulate
from tests.serving.test_app import LIST

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(not IS_WANTED and not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver"),
]

PATIENCE_S = 60
HOSTILE = "<img src=x onerror=\"document.title='broken'\">\u202e__proto__"
# Every text against what is behind it, as WCAG 2.2 counts contrast; what is large may do with less.
CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parts = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const found = parts(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] > 0.99) return found;
  }
  return [255, 255, 255];
};
const poor = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walk.nextNode(); text; text = walk.nextNode()) {
  const node = text.parentElement, style = getComputedStyle(node);
  if (!text.data.trim() || !node.checkVisibility() || node.closest(".unseen, .skip, noscript, script")) continue;
  const front = parts(node.closest("svg") ? style.fill : style.color);
  const [a, b] = [light(front), light(behind(node))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), large = parseFloat(style.fontSize) >= 24;
  if (ratio < (large ? 3 : 4.5)) poor.push(`${text.data.trim()}: ${ratio.toFixed(2)}`);
}
return poor;
"""


@contextmanager
def running(folder: Path, *command: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`freshflow <command>`, and the address that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "freshflow.cli.main", *map(str, command)],
        cwd=folder,
        env=job_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a demo is."""
    folder = tmp_path_factory.mktemp("demo")
    with running(folder, "demo", "--port", 0, "--rate", 4, "--folder", "demo") as (_, address):
        lists = folder / "demo" / "lists.jsonl"
        end_s = time.monotonic() + 4 * PATIENCE_S  # the job may have to be compiled first
        while not (lists.exists() and lists.stat().st_size):
            assert time.monotonic() < end_s
            time.sleep(0.1)
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(browser: Chrome, address: str) -> Iterator["Page"]:
    """The demo's page, just opened, which at the end has had nothing to complain of."""
    emulate(browser, 1400, 1000)
    browser.get(address)
    page = Page(browser)
    page.until(lambda: page.texts("#shelves button"))
    page.until(lambda: page.text("#state") == "Live")
    yield page
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def all_of(selector: str) -> str:
    return f"document.querySelectorAll({json.dumps(selector)})"


class Page:
    """What is on the screen."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, PATIENCE_S, 0.05).until(lambda _: holds())

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def text(self, selector: str) -> str:
        return str(self.run(f"return document.querySelector({json.dumps(selector)}).textContent"))

    def texts(self, selector: str) -> list[str]:
        found = self.run(
            f"return [...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)"
        )
        return [str(text) for text in found]

    def items(self) -> list[str]:
        return self.texts("#rows tr .id")

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> Any:
        return self.driver.switch_to.active_element


def test_a_click_in_the_shop_changes_the_list_on_the_screen(page: Page) -> None:
    first, *_, last = page.driver.find_elements(By.CSS_SELECTOR, "#shelves button")
    first.click()
    page.until(lambda: page.text("#whose") == "you" and "later" in page.text("#outcome"))
    before = page.until(page.items)
    assert len(before) == 20
    assert any(why.startswith("goes with ") for why in page.texts("#rows .why"))
    last.click()
    page.until(lambda: page.items() != before)
    page.until(lambda: re.search(r"changed [\d.]+\sm?s later", page.text("#outcome")))
    assert page.run("return location.search") == "?user=you"


def test_all_of_it_works_with_the_keyboard(page: Page) -> None:
    page.press(Keys.TAB)
    assert page.focused().text == "To the list"
    names = []
    while page.focused().get_attribute("data-item") is None:
        page.press(Keys.TAB)
        names.append(page.focused().accessible_name)
        assert len(names) < 20, names
    assert [name for name in names if not name] == []
    assert page.focused().value_of_css_property("outline-style") == "solid"
    page.press(Keys.TAB, Keys.TAB)
    chosen = page.focused().get_attribute("data-item")
    page.press(Keys.ENTER)
    page.until(lambda: page.text("#whose") == "you" and "later" in page.text("#outcome"))
    page.until(page.items)
    assert page.focused().get_attribute("data-item") == chosen  # what changes takes nobody's focus
    while page.focused().get_attribute("id") != "user":
        page.press(Keys.TAB)
    page.press("nobody <b>", Keys.ENTER)  # what was there is selected
    page.until(lambda: "There is no list of nobody <b>" in page.text("#about-list"))
    assert page.items() == []
    page.press(Keys.TAB, Keys.TAB, Keys.SPACE)
    assert page.focused().get_attribute("aria-pressed") == "true"
    page.until(page.items)


def test_a_screen_reader_finds_names_for_everything(page: Page) -> None:
    page.until(page.items)
    page.until(lambda: page.texts("#partitions td"))
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and "role" in node
    ]
    roles = {role for role, _ in told}
    assert {"banner", "main", "contentinfo", "region", "table", "row", "columnheader", "radio"} <= roles
    named = {"button", "textbox", "combobox", "radio", "link", "table", "region", "img", "image", "heading"}
    assert [(role, name) for role, name in told if role in named and not name] == []
    levels = page.run("return [...document.querySelectorAll('h1,h2,h3')].map((node) => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert page.run("return document.querySelector('#told').getAttribute('aria-live')") == "polite"
    assert page.run("return document.querySelector('#rows').closest('[aria-live]')") is None


def test_lists_that_change_by_themselves_are_told_at_most_every_ten_seconds(page: Page) -> None:
    watched = (
        "window.told = []; addEventListener('DOMContentLoaded', () => new MutationObserver(() =>"
        " told.push(performance.now())).observe(document.getElementById('told'), {childList: true}))"
    )
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watched})
    page.driver.refresh()
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    page.until(lambda: page.run("return told.length") >= 2)
    first, second, *_ = page.run("return told")
    assert second - first >= 9_900


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Page, dark: bool) -> None:
    emulate(page.driver, 1400, 1000, dark=dark, still=True)
    page.driver.find_element(By.CSS_SELECTOR, "#shelves button").click()
    page.until(page.items)
    page.until(lambda: page.texts("#partitions td"))
    paper = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == dark
    assert page.run(CONTRAST) == []


@pytest.mark.parametrize("width", [320, 760, 1200])
def test_it_fits_on_a_screen_of_any_width(page: Page, width: int) -> None:
    emulate(page.driver, width, 800)
    page.driver.find_element(By.CSS_SELECTOR, "#shelves button").click()
    page.until(page.items)
    assert page.run("return document.documentElement.scrollWidth") <= width
    too_wide = (
        "return [...document.querySelectorAll('button, input, dd, td, h2')].filter((node) => node.checkVisibility()"
        " && !node.closest('.wide, details, .unseen') && node.scrollWidth > node.clientWidth + 1 && node.clientWidth"
        ").map((node) => node.outerHTML)"
    )
    assert page.run(too_wide) == []


def test_paused_it_stands_still(page: Page) -> None:
    page.driver.find_element(By.CSS_SELECTOR, "#shelves button").click()
    page.until(page.items)
    page.driver.find_element(By.ID, "pause").click()
    before = page.items()
    page.driver.find_elements(By.CSS_SELECTOR, "#shelves button")[-1].click()
    page.until(lambda: page.text("#state") == "Paused")
    assert page.items() == before
    page.driver.find_element(By.ID, "pause").click()
    page.until(lambda: page.items() != before)


def test_ids_are_text_whatever_they_say_and_what_is_missing_is_told(browser: Chrome, tmp_path: Path) -> None:
    item = {"item_id": HOSTILE, "score": 1.0, "reason": HOSTILE, "because": []}
    together = {"item_id": "constructor", "score": 0.5, "reason": "together", "because": [HOSTILE]}
    hostile = LIST | {"user_id": HOSTILE, "items": [item, together], "computed_at": time.time_ns() // 1_000_000}
    (tmp_path / "lists.jsonl").write_text(json.dumps(hostile) + "\n")
    emulate(browser, 1400, 1000)
    with running(tmp_path, "serve", "--lists", "lists.jsonl", "--port", 0) as (_, address):
        page = Page(browser)
        browser.get(address)
        page.until(lambda: page.text("#whose") == HOSTILE)
        assert page.texts("#rows [role=rowheader]") == [HOSTILE, "constructor"]
        assert page.texts("#rows .why") == [HOSTILE, f"goes with {HOSTILE}"]
        assert page.run("return document.title") == "FreshFlow, live"
        assert page.run("return document.querySelectorAll('main img').length") == 0
        assert not browser.find_element(By.ID, "shop").is_displayed()
        page.until(lambda: "freshflow serve … --metrics metrics.jsonl" in page.text("#hr"))
        assert "freshflow serve … --dead-letters" in page.text("#letters")
    page.until(lambda: page.text("#state") == "Connection lost")
    assert "The connection to the server is lost." in page.text("#alert")
    port = address.rpartition(":")[2]
    with running(tmp_path, "serve", "--lists", "lists.jsonl", "--port", port):
        page.until(lambda: page.text("#state") == "Live")
        assert not browser.find_element(By.ID, "alert").is_displayed()
