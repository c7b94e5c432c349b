"""The chart as PNG: what `chart` draws as SVG, drawn by Pillow, for whatever shows no SVG."""

import io
import re
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

__all__ = ["png_of"]

SCALE = 2  # pixels of the image for one of the chart
SIZE = 12  # of the text
INK, FAINT, GRID, PAPER = "#24292f", "#6e7781", "#d8dee4", "#ffffff"
WIDTHS = {"grid": 1.0, "line": 1.3, "job": 2.8}
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def png_of(svg: str) -> bytes:
    """The PNG of a chart: its groups moved down, with the lines and texts in them, in the colours for light paper."""
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(int, root.attrib["viewBox"].split())
    image = Image.new("RGB", (SCALE * width, SCALE * height), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(SCALE * SIZE)
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        moved = re.fullmatch(r"translate\(0 (\d+)\)", group.attrib["transform"])
        down = int(moved[1]) if moved else 0
        for element in group:
            _draw(draw, font, element, down)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(draw: ImageDraw.ImageDraw, font: Font, element: ElementTree.Element, down: int) -> None:
    given, classes = element.attrib, element.attrib.get("class", "").split()
    if element.tag.endswith("text"):
        at = (SCALE * float(given["x"]), SCALE * (float(given["y"]) + down))
        anchor = ANCHORS[given.get("text-anchor", "start")]
        draw.text(at, element.text or "", FAINT if "faint" in classes else INK, font, anchor)
        return
    width = round(SCALE * WIDTHS[classes[-1]])
    draw.line(_points(given, down), given.get("stroke", GRID), width, joint="curve")


def _points(given: dict[str, str], down: int) -> list[tuple[float, float]]:
    """The corners of a line or polyline."""
    pairs = given["points"] if "points" in given else "{x1},{y1} {x2},{y2}".format(**given)
    corners = (map(float, pair.split(",")) for pair in pairs.split())
    return [(SCALE * x, SCALE * (y + down)) for x, y in corners]
