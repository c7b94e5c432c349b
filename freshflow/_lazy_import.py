"""Modules that are imported when something of them is used: a library asks for them, and our use of it needs none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["imported_later"]


class _Name:
    """What was imported by name from a module that is not there yet."""

    def __init__(self, module: str, name: str) -> None:
        self._of = (module, name)

    def _real(self) -> Any:
        module, name = self._of
        return getattr(import_module(module), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._real()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)


class _Module(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these, and none of them is what a module is for
            raise AttributeError(name)
        return _Name(self.__name__, name)


@contextmanager
def imported_later(*modules: str) -> Iterator[None]:
    """Within the block, these `modules` are imported in name only; the real ones are when one of their names is used.

    What is imported after the block finds the real ones. One that is there already stays what it is.
    """
    in_name = [name for name in modules if name not in sys.modules]
    sys.modules.update((name, _Module(name)) for name in in_name)
    try:
        yield
    finally:
        for name in in_name:
            del sys.modules[name]
