"""The product's Celery, where the renderer never comes back from charts of one title: `celery -A` takes it."""

from __future__ import annotations

import json
import time
from typing import Any

import django

from guanwecom.celery import app

django.setup()

from notifications.charts import renderer  # noqa: E402
from tests.notifications.charts.tables import ENDLESS  # noqa: E402

__all__ = ["app"]

_draw = renderer.draw


def draw(spec: dict[str, Any], *, scale: float) -> renderer.Drawing:
    """As drawing.draw, but for the one title."""
    if ENDLESS in json.dumps(spec, ensure_ascii=False):
        time.sleep(3600)
    return _draw(spec, scale=scale)


renderer.draw = draw
