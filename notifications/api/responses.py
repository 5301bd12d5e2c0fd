"""What the OpenAPI document says of refusals, the same for each operation."""

from __future__ import annotations

from notifications.api.problems import ALWAYS
from notifications.api.schemas import ProblemDetails


def problems(*statuses: int) -> dict[int, type[ProblemDetails]]:
    """The statuses that any operation may answer with, and these."""
    return dict.fromkeys(sorted({*ALWAYS, *statuses}), ProblemDetails)
