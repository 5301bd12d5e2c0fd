"""Modules that few processes use: each is loaded when somebody first asks it for something.

SQLAlchemy and openpyxl take 25 MB and a third of a second, and most workers never need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Late:
    """Stands for the module of this name, which need not be loaded yet: `sqlalchemy = Late("sqlalchemy")`.

    Asking it for anything raises ModuleNotFoundError where it is not installed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)
