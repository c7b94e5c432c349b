"""Imports that are put off until one of the imported names is used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _LazyName:
    """A name imported from a module that is not imported yet."""

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
        if name.startswith("__"):  # the import system asks for these
            raise AttributeError(name)
        return _LazyName(self.__name__, name)


@contextmanager
def lazy_imports(*modules: str) -> Iterator[None]:
    """Put placeholders for `modules` into `sys.modules` within the block; a name of one imports the real module at use.

    Modules that are imported already stay as they are. Imports after the block find the real modules.
    """
    deferred_names = [name for name in modules if name not in sys.modules]
    sys.modules.update((name, _LazyModule(name)) for name in deferred_names)
    try:
        yield
    finally:
        for name in deferred_names:
            del sys.modules[name]
