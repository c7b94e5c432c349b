"""Business rules: from ranked candidates to listed items. One module per rule, which registers itself.

Importing this package imports every module in it, so that a new rule is one file and its settings.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
