"""Pickles that cannot execute code: what they may name is data types, not functions.

A pickle is a program that may call anything that it can name. Snapshots hold River models, which only pickle, and lie
in a folder that others may come to write; so what they name is looked up here, among types of the libraries that they
are made of and the few functions by which those rebuild themselves.
"""

import pickle
from collections.abc import Iterable
from io import BytesIO
from typing import Any

__all__ = ["load_plain", "load_restricted"]

ByteBuffer = bytes | bytearray | memoryview

# Packages any type of which may be named: those that neither open files nor speak to anybody.
ALLOWED_PACKAGES = tuple(f"freshflow.{layer}" for layer in ("engine", "events", "items", "metrics", "ranking", "search", "users"))
RIVER_PACKAGE, FORBIDDEN_PACKAGES = "river", ("river.datasets", "river.stream")
ALLOWED_TYPES = {
    "builtins": ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "range", "set", "slice"),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "array": ("array",),
    "numpy": ("dtype", "ndarray"),
    "numpy.random._pcg64": ("PCG64",),
    "numpy.random._mt19937": ("MT19937",),
}
# How objects are rebuilt: none of these calls anything but types that are allowed.
ALLOWED_FUNCTIONS = {
    "array": ("_array_reconstructor",),
    "copyreg": ("_reconstructor", "__newobj__"),
    "msgspec._core": ("rebuild",),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
    "numpy.random.bit_generator": ("SeedSequence", "__pyx_unpickle_SeedSequence"),
}
CYTHON_REBUILD_PREFIX = "__pyx_unpickle_"  # what Cython calls its own


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, buffers: Iterable[ByteBuffer], package: str | None) -> None:
        super().__init__(BytesIO(data), buffers=buffers)
        self._packages = (*ALLOWED_PACKAGES, RIVER_PACKAGE, *([package] if package else []))

    def find_class(self, module: str, name: str) -> Any:
        attribute = super().find_class(module, name) if "." not in name else None
        if name in ALLOWED_FUNCTIONS.get(module, ()) or name in ALLOWED_TYPES.get(module, ()):
            return attribute
        defining_module = str(
            getattr(attribute, "__module__", module)
        )  # a type that a module has imported is not its own
        if (
            self._is_allowed_module(module)
            and self._is_allowed_module(defining_module)
            and (isinstance(attribute, type) or name.startswith(CYTHON_REBUILD_PREFIX))
        ):
            return attribute
        raise pickle.UnpicklingError(f"{module}.{name} is not what a snapshot is made of")

    def _is_allowed_module(self, module: str) -> bool:
        return _is_in_packages(module, self._packages) and not _is_in_packages(module, FORBIDDEN_PACKAGES)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def _is_in_packages(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def load_restricted(data: bytes, buffers: Iterable[ByteBuffer], package: str | None = None) -> Any:
    """What was pickled as `data`, with its `buffers` out of band; types of one more `package` are allowed.

    Raises `pickle.UnpicklingError` if it names anything else.
    """
    return _RestrictedUnpickler(data, buffers, package).load()


def load_plain(data: bytes) -> Any:
    """What was pickled as `data`: texts, bytes, numbers and collections of them.

    Raises `pickle.UnpicklingError` if it names anything, and whatever else a damaged pickle makes Python raise.
    """
    return _PlainUnpickler(BytesIO(data)).load()
