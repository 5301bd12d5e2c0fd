"""Lazy imports: a module is loaded at its first use.

SQLAlchemy and openpyxl take 25 MB and a third of a second, and most workers never need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyModule:
    """A stand-in for a module that is imported at the first attribute access: `sqlalchemy = LazyModule("sqlalchemy")`.

    Attribute access raises ModuleNotFoundError if the module is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
