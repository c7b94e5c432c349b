"""Rows of CSV, turned into the same fields a JSON object would have.

All cells are text, so a cell is converted by the field it stands in. One that cannot be converted stays text,
and whoever reads the field says what is wrong with it. An empty cell means that the field is absent.
"""

import csv
from collections.abc import Callable

__all__ = ["LIST_SEPARATOR", "BadRowError", "parse_row", "parse_cell"]

LIST_SEPARATOR = "|"
BOOLEAN_CELLS = {"true": True, "1": True, "false": False, "0": False}


class BadRowError(ValueError):
    """The row does not fit its header, or its quotes do not pair; the message is a sentence."""


def parse_row(columns: tuple[str, ...], text: str, separator: str = ",") -> dict[str, object]:
    """The fields of one row, which may span lines inside quotes; raises `BadRowError`.

    Where the separator is no comma, there are no quotes either.

    >>> parse_row(("type", "user_id", "session_id", "items"), 'search,u1,,"a|b"')
    {'type': 'search', 'user_id': 'u1', 'items': ['a', 'b']}
    """
    try:
        cells = next(csv.reader([text], strict=True), []) if separator == "," else text.split(separator)
    except csv.Error as error:
        raise BadRowError(f"The row is not CSV: {error}.") from None
    if len(cells) != len(columns):
        raise BadRowError(f"The row has {len(cells)} cells, but the header names {len(columns)} columns.")
    return {name: parse_cell(name, cell) for name, cell in zip(columns, cells, strict=True) if cell != ""}


def parse_cell(name: str, cell: str) -> object:
    """What the cell of one of our fields says, as JSON would; text where it is text."""
    return CELL_PARSERS[name](cell) if name in CELL_PARSERS else cell


def _parse_number(cell: str) -> object:
    if not cell.isascii() or "_" in cell:  # Python's own spellings of numbers
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def _parse_flag(cell: str) -> object:
    return BOOLEAN_CELLS.get(cell.lower(), cell)


def _split_texts(cell: str) -> object:
    return cell.split(LIST_SEPARATOR)


def _parse_numbers(cell: str) -> object:
    return [_parse_number(part) for part in cell.split(LIST_SEPARATOR)]


CELL_PARSERS: dict[str, Callable[[str], object]] = {
    "value": _parse_number,
    "price": _parse_number,
    "margin": _parse_number,
    "k": _parse_number,
    "exclude_seen": _parse_flag,
    "available": _parse_flag,
    "items": _split_texts,
    "categories": _split_texts,
    "embedding": _parse_numbers,
}
