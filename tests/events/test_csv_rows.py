import pytest

from freshflow.events.csv_rows import BadRowError, parse_row


def test_an_empty_cell_means_that_the_field_is_absent():
    assert parse_row(("a", "b", "c"), "1,,3") == {"a": "1", "c": "3"}


def test_a_quoted_cell_keeps_commas_quotes_and_line_breaks():
    assert parse_row(("a", "b"), '"x, ""y""\nz",2') == {"a": 'x, "y"\nz', "b": "2"}


def test_ids_stay_as_they_are_written_even_with_zeros_in_front():
    assert parse_row(("user_id", "item_id"), "007, 8") == {"user_id": "007", "item_id": " 8"}


def test_numbers_flags_and_lists_are_converted_by_the_name_of_their_column():
    columns = ("value", "k", "exclude_seen", "available", "items", "embedding")
    assert parse_row(columns, "4.5,10,TRUE,0,a|b,0.5|-1") == {
        "value": 4.5,
        "k": 10.0,
        "exclude_seen": True,
        "available": False,
        "items": ["a", "b"],
        "embedding": [0.5, -1.0],
    }


def test_a_cell_that_cannot_be_converted_stays_text_for_the_reader_to_refuse():
    assert parse_row(("value", "available", "embedding"), "many,maybe,1|x") == {
        "value": "many",
        "available": "maybe",
        "embedding": [1.0, "x"],
    }


@pytest.mark.parametrize("row", ["1", "1,2,3"])
def test_a_row_of_another_width_than_the_header_is_refused_with_both_widths(row):
    with pytest.raises(BadRowError, match=r"has \d cells, but the header names 2 columns"):
        parse_row(("a", "b"), row)


@pytest.mark.parametrize("row", ['"open,2', '"a"b,2', "1,2\n3,4"])
def test_quotes_that_do_not_pair_and_a_second_row_are_refused(row):
    with pytest.raises(BadRowError, match="The row is not CSV"):
        parse_row(("a", "b"), row)
