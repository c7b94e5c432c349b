"""Input formats other than the native one: one module per format, which registers itself.

A format is a `FormatMapping` from its fields to the native ones (`mapping.py`), which one adapter applies
(`adapter.py`). The registry chooses the mapping of a record: by the name in `events.format`, or by fields that only one
format has. Importing this package imports every module in it, so that a new format is one file.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
