"""Frames: what was written comes back, and what was damaged does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow._framing import decode_frames, encode_frame


@given(st.lists(st.binary(max_size=300)))
def test_the_pieces_come_back_in_order(pieces: list[bytes]) -> None:
    assert [bytes(piece) for piece in decode_frames(memoryview(b"".join(map(encode_frame, pieces))))] == pieces


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1), st.data())
def test_a_byte_that_changed_is_noticed(pieces: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(encode_frame, pieces)))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"ends \d+ bytes short|not those that were written"):
        list(decode_frames(memoryview(whole)))


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_piece_that_was_cut_short_is_noticed(cut: int) -> None:
    with pytest.raises(ValueError, match="bytes short"):
        list(decode_frames(memoryview(encode_frame(b"two")[:-cut])))
