"""Modules that are imported when something of them is used: a library asks for them, and our use of it needs none."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["lazy_imports"]


class _LazyName:
    """What was imported by name from a module that is not there yet."""

    def __init__(self, module: str, name: str) -> None:
        self._target = (module, name)

    def _resolve(self) -> Any:
        module, name = self._target
        return getattr(import_module(module), name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._resolve()(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)


class _LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these, and none of them is what a module is for
            raise AttributeError(name)
        return _LazyName(self.__name__, name)


@contextmanager
def lazy_imports(*modules: str) -> Iterator[None]:
    """Within the block, these `modules` are imported in name only; the real ones are when one of their names is used.

    What is imported after the block finds the real ones. One that is there already stays what it is.
    """
    deferred_names = [name for name in modules if name not in sys.modules]
    sys.modules.update((name, _LazyModule(name)) for name in deferred_names)
    try:
        yield
    finally:
        for name in deferred_names:
            del sys.modules[name]
