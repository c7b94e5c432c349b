"""Pickles that cannot execute code: they may name data types from a fixed list, and nothing else.

A pickle is a program that may import any module and call anything in it. The only pickles in a snapshot are of models
that `ranker.model` makes and that keep their state in objects of River or of the user; all else is typed columns. A
name is checked against the list before its module is imported, as an import runs code, too.
"""

import pickle
from collections.abc import Iterable
from io import BytesIO
from typing import Any

# Packages any type of which may be named: they neither open files nor use the network.
RIVER_PACKAGE, FORBIDDEN_PACKAGES = "river", ("river.datasets", "river.stream")
ALLOWED_TYPES = {
    "builtins": ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "range", "set", "slice"),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "array": ("array",),
    "freshflow.ranking.adam": ("Adam",),
    "freshflow.ranking.choice_regression": ("ChoiceRegression",),
    "freshflow.ranking.gaussian_splitter": ("GaussianSplitter",),
    "numpy": ("dtype", "ndarray"),
    "numpy.random._pcg64": ("PCG64",),
    "numpy.random._mt19937": ("MT19937",),
}
# Functions by which those types rebuild themselves: none of them calls anything but types that are allowed.
ALLOWED_FUNCTIONS = {
    "array": ("_array_reconstructor",),
    "copyreg": ("_reconstructor", "__newobj__"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "numpy.random._pickle": ("__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"),
    "numpy.random.bit_generator": ("SeedSequence", "__pyx_unpickle_SeedSequence"),
}
CYTHON_REBUILD_PREFIX = "__pyx_unpickle_"  # of functions by which Cython's types rebuild themselves


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, package: str | None) -> None:
        super().__init__(BytesIO(data), fix_imports=False)
        self._packages = (RIVER_PACKAGE, *([package] if package else []))

    def find_class(self, module: str, name: str) -> Any:
        if name in ALLOWED_FUNCTIONS.get(module, ()) or name in ALLOWED_TYPES.get(module, ()):
            return super().find_class(module, name)
        if "." in name or not self._is_allowed_module(module):
            raise _name_error(module, name)
        attribute = super().find_class(module, name)
        # A type that a module has imported from elsewhere is not its own.
        defining_module = str(getattr(attribute, "__module__", module))
        is_type = isinstance(attribute, type) or name.startswith(CYTHON_REBUILD_PREFIX)
        if not is_type or not self._is_allowed_module(defining_module):
            raise _name_error(module, name)
        return attribute

    def _is_allowed_module(self, module: str) -> bool:
        return _is_in_packages(module, self._packages) and not _is_in_packages(module, FORBIDDEN_PACKAGES)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def _is_in_packages(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _name_error(module: str, name: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"{module}.{name} may not be named in a snapshot")


def load_restricted(data: bytes, package: str | None = None) -> Any:
    """Unpickle a model of River's, or of one more `package`.

    Raises `pickle.UnpicklingError` if the pickle names anything else; no module is imported for it.
    """
    return _RestrictedUnpickler(data, package).load()


def load_plain(data: bytes) -> Any:
    """Unpickle text, bytes, numbers and collections of them.

    Raises `pickle.UnpicklingError` if the pickle names anything, and any other exception if it is damaged.
    """
    return _PlainUnpickler(BytesIO(data)).load()
