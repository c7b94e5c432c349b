"""Item ids and their rows: a bounded table, both ways."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from freshflow.items.index import NO_ROW, ItemIndex, extend_rows


def table(*ids: str, bound: int = 10) -> ItemIndex:
    made = ItemIndex(bound)
    for item in ids:
        made.add(item)
    return made


def test_ids_get_rows_in_order_and_keep_them():
    made = table("a", "b", "a")
    assert (made.get("a"), made.get("b"), len(made)) == (0, 1, 2)
    assert made.ids[made.get("b")] == "b"


def test_an_unknown_id_has_no_row():
    assert table("a").get("b") == NO_ROW


def test_rows_of_several_are_padded_behind_the_last_and_where_an_id_is_unknown():
    padded = table("a", "b", "c").padded_rows([("c", "x", "a"), (), ["b"]], 3)
    assert padded.tolist() == [[2, NO_ROW, 0], [NO_ROW] * 3, [1, NO_ROW, NO_ROW]]
    assert table("a").padded_rows([], 3).shape == (0, 3)


def test_rows_of_many_leave_out_the_unknown_and_keep_the_order():
    assert list(table("a", "b", "c").known_rows(["c", "x", "a", "c"])) == [2, 0, 2]


def test_a_full_table_takes_known_ids_and_refuses_new_ones():
    made = table("a", "b", bound=2)
    assert made.is_full
    assert made.add("a") == 0
    with pytest.raises(IndexError, match="all 2 item rows are taken"):
        made.add("c")
    assert made.get("c") == NO_ROW


def test_one_below_its_bound_a_table_is_not_full():
    assert not table("a", bound=2).is_full


def test_dropped_ids_are_unknown_and_their_rows_are_given_to_new_ones():
    made = table("a", "b", "c", bound=3)
    made.drop(np.array([0, 2]))
    assert [made.get(item) for item in "abc"] == [NO_ROW, 1, NO_ROW]
    assert {made.add("d"), made.add("e")} == {0, 2}
    assert made.ids[made.get("d")] == "d"


def test_a_table_comes_back_from_its_state_and_gives_out_the_same_rows():
    made = table("a", "b", "c", "d")
    made.drop(np.array([1, 3]))
    back = ItemIndex(10)
    back.restore(made.state())
    for item in ("a", "b", "c", "e", "f", "g"):
        assert back.get(item) == made.get(item)
        assert back.add(item) == made.add(item)
    assert back.ids == made.ids


@pytest.mark.parametrize("fill", [0, -1])
def test_a_grown_array_keeps_its_rows_and_type(fill):
    larger = extend_rows(np.array([[1, 2]], np.int32), 3, fill)
    assert larger.tolist() == [[1, 2], [fill, fill], [fill, fill]]
    assert larger.dtype == np.int32


class Rows(RuleBasedStateMachine):
    """Adding and dropping at will: ids and rows stay one to one, and rows below the bound."""

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.table = ItemIndex(6)
        self.row_of: dict[str, int] = {}

    @rule(target=known, item=st.sampled_from("abcdefgh"))
    def add(self, item):
        if item in self.row_of or len(self.row_of) < 6:
            row = self.table.add(item)
            assert self.row_of.setdefault(item, row) == row
        return item

    @rule(item=consumes(known))
    def drop(self, item):
        if item in self.row_of:
            self.table.drop(np.array([self.row_of.pop(item)]))

    @invariant()
    def one_to_one(self):
        rows = {item: self.table.get(item) for item in "abcdefgh"}
        assert {item: row for item, row in rows.items() if row != NO_ROW} == self.row_of
        assert len(self.table) == len(self.row_of) == len(set(self.row_of.values()))
        assert all(0 <= row < 6 and self.table.ids[row] == item for item, row in self.row_of.items())


TestRows = Rows.TestCase
TestRows.settings = settings(deadline=None, derandomize=True, max_examples=50, stateful_step_count=30)
