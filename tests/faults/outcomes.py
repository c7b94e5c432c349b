"""What came of a fault, and the table of them all."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Outcome", "rows_of"]

COLUMNS = ("fault", "times", "lost", "duplicated", "recovered in (s)", "")


class Outcome(NamedTuple):
    """How often a fault was tried, what it cost, and what was `wrong`: each a sentence, none where all went as said.

    `lost` and `duplicated` are lists; None where none were made. `recovered_s` is the longest time from the start of a
    process, or from the end of the fault where the job lived on, to the next list.
    """

    fault: str
    tried: int = 1
    lost: int | None = None
    duplicated: int | None = None
    recovered_s: float | None = None
    wrong: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost and it ended as said."""
        return not self.wrong and not self.lost


def rows_of(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Their rows in a table."""
    return [
        [
            one.fault,
            str(one.tried),
            *("-" if count is None else f"{count:,}" for count in (one.lost, one.duplicated)),
            "-" if one.recovered_s is None else f"{one.recovered_s:.1f}",
            ("" if one.is_well else "FAILED ") + one.note,
        ]
        for one in outcomes
    ]
