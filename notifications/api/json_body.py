"""JSON as RFC 8259 has it, read from the body of a call or from a field of a form."""

from __future__ import annotations

import json
from typing import Any

from notifications.api.problems import ProblemError

JSON = "application/json"
MULTIPART = "multipart/form-data"


def read_json(body: bytes) -> Any:
    """Raises ProblemError."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProblemError("malformed_request") from error


def _refuse(constant: str) -> None:
    raise ValueError(constant)
