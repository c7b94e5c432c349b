"""Queries as keys: the same however they are spelled, and no text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.events.query_keys import MAX_QUERY_WORDS, query_keys, query_words


@pytest.mark.parametrize("spelled", ["red shoes", "  Shoes\tRED ", "shoes, red!", "ｒｅｄ shoes", "red red shoes"])
def test_a_query_has_the_same_keys_however_it_is_spelled(spelled):
    assert query_keys(spelled) == query_keys("red shoes")


def test_a_word_alone_is_another_query_than_one_with_it_and_shares_the_key_of_the_word():
    assert query_keys("red shoes")[0] != query_keys("shoes")[0]
    assert set(query_keys("shoes")[1:]) < set(query_keys("red shoes")[1:])


@pytest.mark.parametrize("nothing", ["", "   ", "?!", "--", "\u3000"])
def test_a_query_without_a_word_has_no_keys(nothing):
    assert query_keys(nothing) == ()


def test_a_long_query_has_a_key_of_the_whole_and_of_its_first_words_only():
    long, longer = (" ".join(f"w{n:03d}" for n in range(count)) for count in (800, 801))
    assert len(query_keys(long)) == 1 + MAX_QUERY_WORDS
    assert query_keys(long)[0] != query_keys(longer)[0]


@given(st.text(max_size=40))
def test_any_text_gives_keys_that_hold_no_word_of_it(text):
    keys = query_keys(text)
    assert all(len(key) == 20 and set(key) <= set("0123456789abcdef") for key in keys)
    assert query_words(" ".join(query_words(text))) == query_words(text) or not text.isascii()
