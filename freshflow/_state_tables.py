"""Snapshots as named tables of typed columns, behind a version line.

    version line | lengths and sums | header | column | column | ...

Every part begins at a multiple of 64 bytes. The lengths and the CRC-32 sums of all parts come first, so a snapshot that
was cut short or changed is noticed before anything is read from it. The header is MessagePack: each table by name, with
its version and its columns by name. Small values stand in the header itself. A numpy array is a part of its own, as are
a thousand values of a `ValueColumn`; the header says which parts, and of an array its dtype and shape.

The state of an owner is a subclass of `StateTable`. The names of its fields, their types and its `version` are the
format: renaming an attribute or a class changes no byte, and no code is executed to read a snapshot.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin
from zlib import crc32

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from freshflow.errors import SnapshotError

ByteBuffer = bytes | bytearray | memoryview
PieceFactory = Callable[[], Iterator[ByteBuffer]]

ALIGNMENT_BYTES = 64  # compiled loops expect arrays aligned as numpy allocates them
LENGTH_DTYPE = np.dtype("<u8")
VALUES_PER_PART = 1000  # encoded in one call, during which no other thread runs
NUMERIC_KINDS = "biuf"  # kinds of numpy dtypes that may be read where a column's type leaves the dtype open

T = TypeVar("T")
Table = TypeVar("Table", bound="StateTable")


class StateTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of the typed state of an owner: fields are columns, and their names are part of the stored format.

    `version` changes whenever a column is added, removed or given another meaning.
    """

    version: ClassVar[int] = 1


class ValueColumn(Generic[T]):
    """A column of many immutable values, such as texts or frozen structs; it is encoded in parts of a thousand."""

    def __init__(self, values: Sequence[T] = ()) -> None:
        self.values = values


class _StoredTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    columns: msgspec.Raw


class _StoredArray(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    part: int
    dtype: str
    shape: tuple[Annotated[int, Meta(ge=0)], ...]


class _StoredValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    first_part: int
    n_parts: int


class SnapshotFormat(NamedTuple):
    """The format of one kind of snapshot; `content` and `damaged_content` name it in the sentences of errors."""

    version_line: bytes
    content: str
    damaged_content: str

    def dump(self, tables: Mapping[str, StateTable]) -> bytes:
        """Encode tables by name."""
        return b"".join(_PartWriter(tables, copies_arrays=False).encode(self.version_line))

    def freeze(self, tables: Mapping[str, StateTable]) -> PieceFactory:
        """Copy tables by name as they are now; the result encodes them later, in another thread, piece by piece."""
        writer = _PartWriter(tables, copies_arrays=True)
        return lambda: writer.encode(self.version_line)

    @contextmanager
    def open(self, snapshot: bytes | bytearray) -> Iterator["TableReader"]:
        """Read tables from a snapshot.

        Raises `SnapshotError` for another version, for damage, and for any failure in the body.
        """
        if not snapshot.startswith(self.version_line):
            raise self._version_error()
        try:
            yield TableReader(snapshot, self._version_error)
        except SnapshotError:
            raise
        except Exception as error:  # a pickled model that was tampered with can raise anything
            raise SnapshotError(
                f"The recovery folder holds {self.damaged_content} ({type(error).__name__}: {error}); restore it, or "
                "give an empty one."
            ) from error

    def _version_error(self) -> SnapshotError:
        return SnapshotError(
            f"The recovery folder holds {self.content} of another version of FreshFlow; resume with that version, or "
            "start anew with an empty --recovery folder."
        )


class TableReader:
    """The tables of one snapshot; arrays are views of a writable copy of its bytes."""

    def __init__(self, snapshot: bytes | bytearray, version_error: Callable[[], SnapshotError]) -> None:
        self._version_error = version_error
        header, *self._parts = decode_parts(snapshot)
        self._tables = msgspec.msgpack.decode(header, type=dict[str, _StoredTable])

    def __contains__(self, name: str) -> bool:
        return name in self._tables

    def read(self, name: str, table_type: type[Table], default: Table | None = None) -> Table:
        """Read a table.

        Args:
            name: The name of the table.
            table_type: The type of the state that it holds.
            default: The state to return if the snapshot has no such table, because its owner was off.

        Returns:
            The state. Its arrays may be written to.

        Raises:
            SnapshotError: The table has another version.
            ValueError: The table is missing, or its columns are not those of `table_type`.
        """
        stored = self._tables.get(name)
        if stored is None:
            if default is None:
                raise ValueError(f"table {name!r} is missing")
            return default
        if stored.version != table_type.version:
            raise self._version_error()
        return msgspec.msgpack.decode(stored.columns, type=table_type, dec_hook=self._decode_column)

    def _decode_column(self, column_type: Any, stored: Any) -> Any:
        origin = get_origin(column_type) or column_type
        if origin is np.ndarray:
            return self._decode_array(msgspec.convert(stored, _StoredArray), get_args(column_type))
        if origin is ValueColumn:
            (value_type,) = get_args(column_type)
            return self._decode_values(msgspec.convert(stored, _StoredValues), value_type)
        raise NotImplementedError(f"no column has the type {column_type}")

    def _decode_array(self, stored: _StoredArray, type_args: tuple[Any, ...]) -> NDArray[Any]:
        dtype, part = np.dtype(stored.dtype), self._parts[stored.part]
        (scalar_type,) = get_args(type_args[1])
        if dtype.kind not in NUMERIC_KINDS or (scalar_type is not Any and dtype != np.dtype(scalar_type)):
            raise ValueError(f"an array of {stored.dtype} stands where {scalar_type.__name__} belongs")
        if prod(stored.shape) * dtype.itemsize != len(part):
            raise ValueError(f"an array of shape {stored.shape} has {len(part)} bytes")
        return np.ndarray(stored.shape, dtype, part)

    def _decode_values(self, stored: _StoredValues, value_type: Any) -> ValueColumn[Any]:
        decode = msgspec.msgpack.Decoder(list[value_type]).decode
        parts = self._parts[stored.first_part : stored.first_part + stored.n_parts]
        return ValueColumn([value for part in parts for value in decode(part)])


class _PartWriter:
    """The parts of a snapshot: the header and small values encoded at once, columns when `encode` is called."""

    def __init__(self, tables: Mapping[str, StateTable], *, copies_arrays: bool) -> None:
        self._copies_arrays = copies_arrays
        self._columns: list[NDArray[Any] | Sequence[Any]] = []
        encode = msgspec.msgpack.Encoder(enc_hook=self._add_column).encode
        self._header = encode(
            {name: _StoredTable(table.version, msgspec.Raw(encode(table))) for name, table in tables.items()}
        )

    def _add_column(self, column: Any) -> _StoredArray | _StoredValues:
        first_part = len(self._columns)
        if isinstance(column, np.ndarray):
            self._columns.append(column.copy() if self._copies_arrays else np.ascontiguousarray(column))
            return _StoredArray(first_part, column.dtype.str, column.shape)
        if isinstance(column, ValueColumn):
            values = column.values
            self._columns += [values[n : n + VALUES_PER_PART] for n in range(0, len(values), VALUES_PER_PART)]
            return _StoredValues(first_part, len(self._columns) - first_part)
        raise TypeError(f"a column cannot hold the type {type(column).__name__}")

    def encode(self, version_line: bytes) -> Iterator[ByteBuffer]:
        parts: list[ByteBuffer] = [self._header, *map(_encode_column, self._columns)]
        for part in (version_line, encode_lengths(parts), *parts):
            yield part
            yield bytes(-len(part) % ALIGNMENT_BYTES)


def _encode_column(column: NDArray[Any] | Sequence[Any]) -> ByteBuffer:
    return column.reshape(-1).view(np.uint8).data if isinstance(column, np.ndarray) else msgspec.msgpack.encode(column)


def encode_lengths(parts: Sequence[ByteBuffer]) -> bytes:
    """Return the number of parts, the length and sum of each, and the sum of all this, in eight bytes each."""
    numbers = [len(parts), *(number for part in parts for number in (len(part), crc32(part)))]
    lengths = np.array(numbers, LENGTH_DTYPE).tobytes()
    return lengths + np.array([crc32(lengths)], LENGTH_DTYPE).tobytes()


def decode_parts(snapshot: bytes | bytearray) -> list[memoryview]:
    """Return the parts of a snapshot, writable. Raises `ValueError` if one was cut short or changed."""
    contents = np.frombuffer(bytearray(snapshot), np.uint8)
    (n_parts,) = contents[ALIGNMENT_BYTES : ALIGNMENT_BYTES + LENGTH_DTYPE.itemsize].view(LENGTH_DTYPE).tolist()
    lengths_end = ALIGNMENT_BYTES + (2 + 2 * n_parts) * LENGTH_DTYPE.itemsize
    offset = _align(lengths_end)
    if offset > len(contents):
        raise ValueError(f"it is too short for {n_parts} parts")
    *lengths, lengths_crc = contents[ALIGNMENT_BYTES:lengths_end].view(LENGTH_DTYPE).tolist()
    if crc32(contents.data[ALIGNMENT_BYTES : lengths_end - LENGTH_DTYPE.itemsize]) != lengths_crc:
        raise ValueError("the lengths of its parts are not those that were written")
    parts, ends = [], [snapshot.index(b"\n") + 1, lengths_end]
    for length, crc in zip(lengths[1::2], lengths[2::2], strict=True):
        part = contents.data[offset : offset + length]
        if len(part) < length or crc32(part) != crc:
            raise ValueError(f"the {length} bytes from byte {offset} on are not those that were written")
        parts.append(part)
        ends.append(offset + length)
        offset = _align(offset + length)
    if len(contents) != offset or any(contents[end : _align(end)].any() for end in ends):
        raise ValueError("the bytes between its parts are not those that were written")
    return parts


def _align(offset: int) -> int:
    """Return the next multiple of `ALIGNMENT_BYTES`."""
    return offset + -offset % ALIGNMENT_BYTES
