"""Points in time that queries compare with."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from django.db.models.expressions import Combinable

# A time, or an expression for one, as the database's own Now(): a query with that can be written once.
Moment: TypeAlias = datetime | Combinable
