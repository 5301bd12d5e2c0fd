"""Alertmanager's webhook payload, version 4, as its documentation has it; Grafana's is the same with more members.

Source: prometheus.io/docs/alerting/latest/configuration/#webhook_config; grafana.com/docs, webhook notifier (both read
2026-11-26).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field

ALERTS_AT_MOST = 1000
LABELS_AT_MOST = 64
LABEL_NAME_CHARACTERS = 128
LABEL_VALUE_CHARACTERS = 1024
ANNOTATION_CHARACTERS = 16_384
# Everything below the space but tab and line ends, DEL, the C1 controls, and halves of surrogate pairs.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_ENDS = re.compile("[\t\n\r\u2028\u2029]")


def _plain(value: str) -> str:
    if _CONTROLS.search(value):
        raise ValueError("control characters are not taken")
    return value


def _one_line(value: str) -> str:
    if _CONTROLS.search(value) or _LINE_ENDS.search(value):
        raise ValueError("control characters are not taken")
    return value


Name = Annotated[str, Field(min_length=1, max_length=LABEL_NAME_CHARACTERS), AfterValidator(_one_line)]
LabelValue = Annotated[str, Field(max_length=LABEL_VALUE_CHARACTERS), AfterValidator(_plain)]
Text = Annotated[str, Field(max_length=ANNOTATION_CHARACTERS), AfterValidator(_plain)]
Address = Annotated[str, Field(max_length=ANNOTATION_CHARACTERS)]


class AlertIn(Schema):
    """One alert. `startsAt` tells one stretch of trouble from the next; without it, it began now."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[Name, LabelValue], Field(min_length=1, max_length=LABELS_AT_MOST)]
    annotations: Annotated[dict[Name, Text], Field(max_length=LABELS_AT_MOST)] = {}
    startsAt: datetime | None = None
    endsAt: datetime | None = None
    generatorURL: Address = ""


class AlertsIn(Schema):
    """What Alertmanager posts. Members that are not named here are ignored."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["4", "1"] = "4"
    status: Literal["firing", "resolved"] = "firing"
    truncatedAlerts: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    alerts: Annotated[list[AlertIn], Field(min_length=1, max_length=ALERTS_AT_MOST)]


class AlertsAnswer(Schema):
    """How many alerts did what. `unrouted`: no route took them, so nobody is told; an alert that several routes took
    counts in each of the others."""

    received: int
    opened: int
    reopened: int
    resolved: int
    unchanged: int
    unrouted: int
