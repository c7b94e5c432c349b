"""Conversion of CSV rows to the fields of the equivalent JSON object.

CSV cells are text, so each cell is converted by the type of its field. A cell that cannot be converted stays text, and
the reader of the field reports the error. An empty cell is an absent field.
"""

import csv
from collections.abc import Callable

LIST_SEPARATOR = "|"
BOOLEAN_CELLS = {"true": True, "1": True, "false": False, "0": False}


class BadRowError(ValueError):
    """A row that does not match its header or has unbalanced quotes; the message is a sentence."""


def parse_row(columns: tuple[str, ...], text: str, separator: str = ",") -> dict[str, object]:
    """Return the fields of one row, which can contain line breaks inside quotes.

    Quotes are only recognised if the separator is a comma.

    >>> parse_row(("type", "user_id", "session_id", "items"), 'search,u1,,"a|b"')
    {'type': 'search', 'user_id': 'u1', 'items': ['a', 'b']}

    Args:
        columns: The field name of each cell.
        text: The row.
        separator: The separator of cells.

    Raises:
        BadRowError: The row is not CSV, or the number of cells is not that of the columns.
    """
    try:
        cells = next(csv.reader([text], strict=True), []) if separator == "," else text.split(separator)
    except csv.Error as error:
        raise BadRowError(f"The row is not CSV: {error}.") from None
    if len(cells) != len(columns):
        raise BadRowError(f"The row has {len(cells)} cells, but the header names {len(columns)} columns.")
    return {name: parse_cell(name, cell) for name, cell in zip(columns, cells, strict=True) if cell != ""}


def parse_cell(name: str, cell: str) -> object:
    """Convert a cell to the type of its field; a cell that cannot be converted stays text."""
    return CELL_PARSERS[name](cell) if name in CELL_PARSERS else cell


def _parse_number(cell: str) -> object:
    if not cell.isascii() or "_" in cell:  # number syntax of Python only
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
