"""The compiled writing of lists against msgspec."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.outputs.assembly import ListArrays, build_list_items
from freshflow.outputs.json_writer import SCORE_DECIMALS, JsonListWriter, encode_items
from freshflow.outputs.records import ListItem
from freshflow.ranking.reason_names import RANKING_REASONS

ids_by_row = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=9)
scores = st.one_of(
    st.floats(-1e6, 1e6),
    st.sampled_from([0.0, -0.0, 1e-7, -1e-10, 0.9999999999, -0.9999999999, 12345.5, 999_999_999.0]),
)


def lists(data: st.DataObject, rows: int) -> ListArrays:
    """Lists of at most five items."""
    count = data.draw(st.integers(0, 4))
    shape = (count, 5)

    def numbers(values: st.SearchStrategy, dtype: type) -> np.ndarray:
        flat = data.draw(st.lists(values, min_size=count * 5, max_size=count * 5))
        return np.array(flat, dtype).reshape(shape)

    sizes = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    return ListArrays(
        numbers(st.integers(0, rows - 1), np.int32),
        numbers(scores, np.float64),
        numbers(st.integers(0, len(RANKING_REASONS) - 1), np.int32),
        numbers(st.integers(-1, rows - 1), np.int32),
        np.array(sizes, np.int32),
    )


def parsed(texts: list[msgspec.Raw]) -> list[list[ListItem]]:
    return [msgspec.json.decode(text, type=list[ListItem]) for text in texts]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(ids_by_row, st.data())
def test_what_is_written_is_read_back_with_scores_rounded(ids, data):
    texts = JsonListWriter()
    for _ in range(3):
        several = lists(data, len(ids))
        rounded = several._replace(scores=np.round(several.scores, SCORE_DECIMALS))
        for got, wanted in zip(parsed(texts.encode_lists(several, ids)), build_list_items(rounded, ids), strict=True):
            assert [msgspec.structs.replace(item, score=0) for item in got] == [
                msgspec.structs.replace(item, score=0) for item in wanted
            ]
            assert [item.score for item in got] == pytest.approx(
                [item.score for item in wanted], abs=1.01e-9, rel=1e-15
            )


def of_scores(*values: float) -> str:
    n = len(values)
    rows = np.zeros((1, n), np.int32)
    several = ListArrays(rows, np.array([values], np.float64), rows, rows - 1, np.array([n], np.int32))
    (text,) = JsonListWriter().encode_lists(several, ["a"])
    return bytes(text).decode()


def test_a_list_is_compact_json():
    assert of_scores(-1.5) == f'[{{"item_id":"a","score":-1.500000000,"reason":"{RANKING_REASONS[0]}","because":[]}}]'


def test_a_score_that_is_no_number_or_beyond_all_bounds_is_null():
    values = [float("nan"), float("inf"), -float("inf"), 1e300, 1e9, -1e9]
    assert [item["score"] for item in json.loads(of_scores(*values))] == [None] * len(values)


def test_what_rounds_to_nothing_has_no_sign():
    assert '"score":0.000000000' in of_scores(-1e-12)


def test_a_row_that_is_dropped_is_written_under_its_new_id():
    texts, ids = JsonListWriter(), ["a", "b", "c"]
    rows = np.array([[0, 1, 2]], np.int32)
    several = ListArrays(rows, np.zeros(rows.shape), rows * 0, rows[:, ::-1], np.array([3], np.int32))
    for n in range(200):
        row = n % 3
        ids[row] = f"item {n}"
        texts.drop_items(np.array([row, 1000]))
        (items,) = parsed(texts.encode_lists(several, ids))
        assert [item.item_id for item in items] == ids
        assert [item.because for item in items] == [(item,) for item in ids[::-1]]
    assert texts.n_used_bytes < 100  # what was dropped does not pile up


def test_the_text_of_items_at_hand_is_msgspec_s():
    items = [ListItem("a", 0.25, "popular", ("b",), {"hour": 0.25})]
    assert msgspec.json.decode(encode_items(items), type=list[ListItem]) == items
