"""Alertmanager's webhook payload, version 4, as its documentation has it; Grafana's is the same with more members.

Source: prometheus.io/docs/alerting/latest/configuration/#webhook_config; grafana.com/docs, webhook notifier (both read
2026-11-26).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

LABELS_AT_MOST = 64
LABEL_NAME_CHARACTERS = 128
LABEL_VALUE_CHARACTERS = 1024
ANNOTATION_CHARACTERS = 16_384
# Everything below the space but tab and line ends, DEL, the C1 controls, what turns the direction of reading, and
# halves of surrogate pairs.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_ENDS = re.compile("[\t\n\r\u2028\u2029]")
_REPLACEMENT = "\ufffd"


def _tidy(characters: int, *, is_one_line: bool = False) -> Callable[[Any], Any]:
    """Cleaned, not refused: a sender does not repeat what was refused: one odd alert would take all the others
    of its payload with it."""

    def tidy(value: Any) -> Any:
        if not isinstance(value, str):
            return value  # refused by its type
        plain = _CONTROLS.sub(_REPLACEMENT, value[:characters])
        return _LINE_ENDS.sub(_REPLACEMENT, plain) if is_one_line else plain

    return tidy


def _first(items: Mapping[str, str]) -> dict[str, str]:
    return dict(islice(items.items(), LABELS_AT_MOST))


Name = Annotated[str, BeforeValidator(_tidy(LABEL_NAME_CHARACTERS, is_one_line=True)), Field(min_length=1)]
LabelValue = Annotated[str, BeforeValidator(_tidy(LABEL_VALUE_CHARACTERS))]
Text = Annotated[str, BeforeValidator(_tidy(ANNOTATION_CHARACTERS))]


class AlertIn(Schema):
    """One alert. `startsAt` tells one incident from the next; without it, it began now."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[Name, LabelValue], Field(min_length=1), AfterValidator(_first)]
    annotations: Annotated[dict[Name, Text], AfterValidator(_first)] = {}
    startsAt: datetime | None = None
    endsAt: datetime | None = None
    generatorURL: Text = ""


class AlertsIn(Schema):
    """What Alertmanager posts. Members that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["4", "1"] = "4"
    status: Literal["firing", "resolved"] = "firing"
    truncatedAlerts: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    alerts: Annotated[list[AlertIn], Field(min_length=1)]


class AlertsAnswer(Schema):
    """How many alerts did what. `unrouted`: no route took them, so nobody is told; an alert that several routes took
    counts in each of the others."""

    received: int
    opened: int
    reopened: int
    resolved: int
    unchanged: int
    unrouted: int
