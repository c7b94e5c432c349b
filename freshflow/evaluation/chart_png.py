"""The chart as PNG: what `chart` draws as SVG, drawn by Pillow, for whatever shows no SVG."""

import io
import re
from xml.etree import ElementTree

from PIL import Image, ImageDraw, ImageFont

__all__ = ["render_png"]

SCALE = 2  # pixels of the image for one of the chart
FONT_SIZE = 12  # of the text
INK, FAINT, GRID, PAPER = "#24292f", "#6e7781", "#d8dee4", "#ffffff"
STROKE_WIDTHS = {"grid": 1.0, "line": 1.3, "job": 2.8}
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
TEXT_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def render_png(svg: str) -> bytes:
    """The PNG of a chart: its groups moved down, with the lines and texts in them, in the colours for light paper."""
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(int, root.attrib["viewBox"].split())
    image = Image.new("RGB", (SCALE * width, SCALE * height), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(SCALE * FONT_SIZE)
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        translation = re.fullmatch(r"translate\(0 (\d+)\)", group.attrib["transform"])
        y_offset = int(translation[1]) if translation else 0
        for element in group:
            _draw_element(draw, font, element, y_offset)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw_element(draw: ImageDraw.ImageDraw, font: Font, element: ElementTree.Element, y_offset: int) -> None:
    attributes, classes = element.attrib, element.attrib.get("class", "").split()
    if element.tag.endswith("text"):
        position = (SCALE * float(attributes["x"]), SCALE * (float(attributes["y"]) + y_offset))
        anchor = TEXT_ANCHORS[attributes.get("text-anchor", "start")]
        draw.text(position, element.text or "", FAINT if "faint" in classes else INK, font, anchor)
        return
    width = round(SCALE * STROKE_WIDTHS[classes[-1]])
    draw.line(_points(attributes, y_offset), attributes.get("stroke", GRID), width, joint="curve")


def _points(attributes: dict[str, str], y_offset: int) -> list[tuple[float, float]]:
    """The corners of a line or polyline."""
    pairs = attributes["points"] if "points" in attributes else "{x1},{y1} {x2},{y2}".format(**attributes)
    corners = (map(float, pair.split(",")) for pair in pairs.split())
    return [(SCALE * x, SCALE * (y + y_offset)) for x, y in corners]
