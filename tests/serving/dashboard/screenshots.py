"""Take pictures of the live page for the docs, with Chromium: `python -m tests.serving.dashboard.screenshots`."""

import base64
import io
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from selenium.webdriver.common.by import By

from tests.serving.dashboard.browser import chromium, emulate
from tests.serving.dashboard.test_page import Page, running

FOLDER = Path(__file__).parents[3] / "freshflow" / "docs" / "images"
PICTURES = {"light": (1440, 1000, False), "dark": (1440, 1000, True), "narrow": (360, 1560, False)}
CLICKS = (0, 1, 4)  # of the shop's window
LIVE_S = 150  # until there are some minutes of live latencies to draw, and the past is not among the rates
MOST_BYTES = 200_000
COLOURS = 256


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as folder,
        running(Path(folder), "demo", "--port", 0) as (_, address),
        chromium() as driver,
    ):
        emulate(driver, 1440, 1000, still=True)
        driver.get(address)
        page = Page(driver)
        page.until(lambda: page.texts("#shelves button"))
        page.until(lambda: page.texts("#hr svg"))
        time.sleep(LIVE_S)
        for number in CLICKS:
            driver.find_elements(By.CSS_SELECTOR, "#shelves button")[number].click()
            page.until(lambda: "later" in page.text("#outcome"))
        for name, (width, height, dark) in PICTURES.items():
            emulate(driver, width, height, dark=dark, still=True)
            page.run("document.activeElement.blur(); scrollTo(0, 0)")
            time.sleep(2.5)  # a figure or two
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
            print(_write(FOLDER / f"live-page-{name}.png", base64.b64decode(taken)))


def _write(path: Path, png: bytes) -> str:
    """Few colours are enough for text and lines, and make small files."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{path} has {size} bytes, more than {MOST_BYTES}.")
    return f"{path}: {size} bytes"


if __name__ == "__main__":
    main()
