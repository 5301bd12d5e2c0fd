"""The demo's BI: a key pair for single sign-on, and the stand-in's people and pages, from public data sets."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from accounts.models import User
from integrations.bi import keeping
from integrations.models import BiConnection, Corp
from notifications.demo.figures import POWER_SOURCE, POWER_SOURCES, WEATHER_SOURCE, power_rows, weather_rows

# Where the sandbox has its stand-in BI.
PATH = "/guandata"
WEATHER_PAGE, POWER_PAGE = "weather", "power"
API_USER = "api"


def connect(*, sandbox_address: str, now: datetime) -> BiConnection:
    """Connect the stand-in BI. A BI that somebody connected meanwhile stays, but for the sandbox's address."""
    connection = keeping.ensure()
    if connection.base_url and not connection.base_url.endswith(PATH):
        return connection
    if not connection.has_key:
        keeping.generate_key(now=now)
        connection = keeping.ensure()
        connection.api_login, connection.api_password = API_USER, secrets.token_urlsafe(16)
        connection.app_token, connection.is_enabled = secrets.token_urlsafe(16), True
    connection.base_url = f"{sandbox_address}{PATH}"
    keeping.save(
        connection=connection, changed_fields={"base_url", "is_enabled", "api_login", "api_password", "app_token"}
    )
    return connection


def sandbox_seed(connection: BiConnection, corps: list[Corp]) -> dict[str, Any]:
    """The stand-in as its administrator would have set it up: the public key, an account for each person, two pages."""
    people = User.objects.filter(wecom_accounts__corp__in=corps).order_by("username").distinct()
    public = keeping.public_key(connection)
    return {
        "provider": connection.provider,
        "public_key": public[0] if public else "",
        "app_token": connection.app_token,
        "users": [
            {"login_id": API_USER, "name": "API", "password": connection.api_password},
            *({"login_id": person.username, "name": person.name, "email": person.email} for person in people),
        ],
        "pages": [_weather_page(), _power_page()],
    }


def _weather_page() -> dict[str, Any]:
    columns = {
        "date": "日期",
        "precipitation": "降水（毫米）",
        "temp_max": "最高气温",
        "temp_min": "最低气温",
        "wind": "风速",
    }
    rows = [{name: row[key] for key, name in columns.items()} for row in weather_rows()]
    card = {"card_id": "weather-daily", "name": "西雅图逐日气象", "source": WEATHER_SOURCE}
    return {
        "page_id": WEATHER_PAGE,
        "name": "天气总览",
        "cards": [{**card, "columns": list(columns.values()), "rows": rows}],
    }


def _power_page() -> dict[str, Any]:
    rows = [
        {"年份": row["year"][:4], "来源": POWER_SOURCES[row["source"]], "净发电量": int(row["net_generation"])}
        for row in power_rows()
    ]
    card = {"card_id": "power-yearly", "name": "艾奥瓦州年度净发电量", "source": POWER_SOURCE}
    return {
        "page_id": POWER_PAGE,
        "name": "发电结构",
        "cards": [{**card, "columns": ["年份", "来源", "净发电量"], "rows": rows}],
    }
