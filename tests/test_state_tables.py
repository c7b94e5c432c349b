"""Snapshots as tables of typed columns: states come back as they were, and what does not fit is refused."""

from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from freshflow._state_tables import VALUES_PER_PART, SnapshotFormat, StateTable, ValueColumn
from freshflow.errors import SnapshotError

FORMAT = SnapshotFormat(b"test-1\n", "a shelf", "a damaged shelf")


class Book(msgspec.Struct, frozen=True, array_like=True):
    title: str
    pages: int = 0


class Cover(msgspec.Struct, frozen=True):
    colours: NDArray[np.uint8]


class Shelf(StateTable, frozen=True):
    heights: NDArray[np.float32]
    weights: NDArray[Any]
    books: ValueColumn[Book]
    covers: list[Cover]
    counts: dict[str, int]
    label: str = ""


def shelf(n_books: int = 3) -> Shelf:
    return Shelf(
        heights=np.arange(6, dtype=np.float32).reshape(2, 3),
        weights=np.array([1.5, 2.5]),
        books=ValueColumn([Book(f"b{n}", n) for n in range(n_books)]),
        covers=[Cover(np.zeros((0, 4), np.uint8)), Cover(np.ones(3, np.uint8))],
        counts={"read": 1},
        label="ü",
    )


def read(snapshot: bytes, table_type: type[StateTable] = Shelf, name: str = "shelf") -> Any:
    with FORMAT.open(snapshot) as tables:
        return tables.read(name, table_type)


@pytest.mark.parametrize("n_books", [0, 1, VALUES_PER_PART, 2 * VALUES_PER_PART + 1])
def test_state_comes_back_with_its_types_and_shapes(n_books):
    given, back = shelf(n_books), read(FORMAT.dump({"shelf": shelf(n_books)}))
    for one, other in [
        (given.heights, back.heights),
        (given.weights, back.weights),
        *((one.colours, other.colours) for one, other in zip(given.covers, back.covers, strict=True)),
    ]:
        np.testing.assert_array_equal(one, other, strict=True)
        assert other.flags.writeable
        assert other.flags.c_contiguous
    assert back.books.values == given.books.values
    assert (back.counts, back.label) == ({"read": 1}, "ü")


def test_frozen_state_is_that_of_the_moment():
    given = shelf()
    expected, encode_pieces = FORMAT.dump({"shelf": given}), FORMAT.freeze({"shelf": given})
    given.heights[:] = 7
    given.counts["read"] = 2
    given.books.values.append(Book("late"))  # type: ignore[attr-defined]
    assert b"".join(encode_pieces()) == expected


def test_strided_array_is_stored_in_order():
    given = msgspec.structs.replace(shelf(), weights=np.arange(12.0).reshape(3, 4)[:, ::2].T)
    np.testing.assert_array_equal(read(FORMAT.dump({"shelf": given})).weights, given.weights)


def test_names_of_classes_are_no_part_of_the_bytes():
    class Renamed(StateTable, frozen=True):
        heights: NDArray[np.float32]
        weights: NDArray[Any]
        books: ValueColumn[Book]
        covers: list[Cover]
        counts: dict[str, int]
        label: str

    snapshot = FORMAT.dump({"shelf": shelf()})
    assert b"Shelf" not in snapshot
    assert FORMAT.dump({"shelf": read(snapshot, Renamed)}) == snapshot


def test_table_that_is_missing_has_the_default_or_is_refused():
    snapshot = FORMAT.dump({"shelf": shelf()})
    with FORMAT.open(snapshot) as tables:
        assert "shelf" in tables
        assert "other" not in tables
        default = shelf()
        assert tables.read("other", Shelf, default) is default
    with pytest.raises(SnapshotError, match=r"a damaged shelf .*'other' is missing"):
        read(snapshot, name="other")


def test_table_of_another_version_is_refused():
    class Newer(Shelf, frozen=True):
        version: ClassVar[int] = 2

    with pytest.raises(SnapshotError, match=r"holds a shelf of another version .*start anew"):
        read(FORMAT.dump({"shelf": shelf()}), Newer)


@pytest.mark.parametrize("snapshot", [b"", b"test-0\n", b"\x80\x05."])
def test_snapshot_of_another_version_is_refused(snapshot):
    with pytest.raises(SnapshotError, match=r"holds a shelf of another version .*start anew"):
        read(snapshot)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.bool_])
def test_array_of_another_type_is_refused(dtype):
    given = msgspec.structs.replace(shelf(), heights=np.zeros(3, dtype))
    with pytest.raises(SnapshotError, match=r"damaged shelf .*stands where float32 belongs"):
        read(FORMAT.dump({"shelf": given}))


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([b"a"]), np.array([(1, 2.0)], "i4,f8")], ids=lambda a: a.dtype.str
)
def test_array_that_is_not_numeric_is_refused(array):
    given = msgspec.structs.replace(shelf(), weights=array)
    with pytest.raises(SnapshotError, match="damaged shelf"):
        read(FORMAT.dump({"shelf": given}))


def test_columns_that_are_not_known_are_refused():
    class Smaller(StateTable, frozen=True):
        label: str

    with pytest.raises(SnapshotError, match=r"damaged shelf .*unknown field"):
        read(FORMAT.dump({"shelf": shelf()}), Smaller)


def test_value_of_another_type_is_refused():
    given = msgspec.structs.replace(shelf(), label=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a column cannot hold the type object"):
        FORMAT.dump({"shelf": given})


def test_every_changed_byte_is_noticed():
    snapshot = FORMAT.dump({"shelf": shelf()})
    for position in range(len(FORMAT.version_line), len(snapshot)):
        damaged = bytearray(snapshot)
        damaged[position] ^= 0x10
        with pytest.raises(
            SnapshotError, match=r"holds a damaged shelf \(ValueError: .*; restore it, or give an empty one\.$"
        ):
            read(bytes(damaged))


def test_every_cut_is_noticed():
    snapshot = FORMAT.dump({"shelf": shelf()})
    for length in range(len(FORMAT.version_line), len(snapshot)):
        with pytest.raises(SnapshotError, match="damaged shelf"):
            read(snapshot[:length])
    with pytest.raises(SnapshotError, match="damaged shelf"):
        read(snapshot + b"\0")
