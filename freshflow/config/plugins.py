"""Import of the modules that register formats, rules, features of the ranker and sinks."""

import importlib
from collections.abc import Iterable

from freshflow.errors import ConfigError

# The formats of this package register themselves like those of a plugin: nothing here knows them by another way.
BUILT_IN_MODULES = ("freshflow.events.formats",)


def import_built_in_modules() -> None:
    """Import the modules of this package that register the values that a configuration may have."""
    for module in BUILT_IN_MODULES:
        importlib.import_module(module)


def import_plugins(modules: Iterable[str], origin: str = "plugins.modules") -> None:
    """Import the modules of `plugins.modules`. A module that is imported already stays as it is.

    Args:
        modules: Names of modules, `package.module`.
        origin: The setting that names them, for errors.

    Raises:
        ConfigError: A module cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # any code may run on import
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"{origin}: the module {module!r} cannot be imported ({reason}); correct it, or install it or name its "
                "folder in PYTHONPATH."
            ) from None
