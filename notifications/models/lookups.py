"""The type of points in time that queries compare with."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from django.db.models.expressions import Combinable

# A time, or an expression for one, as the database's own Now().
Moment: TypeAlias = datetime | Combinable
