"""The demo's BI: a key pair for single sign-on, and the stand-in's people and pages, from public data sets."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from accounts.models import User
from accounts.users.bi_identity_sources import USERNAME
from integrations import bi
from integrations.models import BiConnection, Corp
from tools.demo.figures import (
    HARVEST,
    HARVEST_SOURCE,
    POWER,
    POWER_SOURCE,
    WEATHER,
    WEATHER_SOURCE,
    DemoReport,
    harvest_rows,
    power_rows,
    weather_rows,
)

# Where the sandbox has its stand-in BI.
PATH = "/guandata"
WEATHER_PAGE, POWER_PAGE, HARVEST_PAGE = "weather", "power", "harvest"
# Of each report's card in the stand-in: its page and its own id.
PLACES = {
    WEATHER.alias: (WEATHER_PAGE, "weather-daily"),
    POWER.alias: (POWER_PAGE, "power-yearly"),
    HARVEST.alias: (HARVEST_PAGE, "harvest-regions"),
}
API_USER = "api"


def connect(*, sandbox_address: str, now: datetime) -> BiConnection:
    """Connect the stand-in BI. A BI that somebody connected meanwhile stays, but for the sandbox's address."""
    connection = bi.ensure_connection()
    if connection.base_url and not connection.base_url.endswith(PATH):
        return connection
    if not connection.has_key:
        bi.generate_key(now=now)
        connection = bi.ensure_connection()
        connection.api_login, connection.api_password = API_USER, secrets.token_urlsafe(16)
        connection.app_token, connection.is_enabled = secrets.token_urlsafe(16), True
        connection.external_id_source = USERNAME  # the demo has no administrators of single companies
    connection.base_url = f"{sandbox_address}{PATH}"
    bi.save_connection(
        connection=connection,
        changed_fields={"base_url", "is_enabled", "external_id_source", "api_login", "api_password", "app_token"},
    )
    return connection


def sandbox_seed(connection: BiConnection, corps: list[Corp]) -> dict[str, Any]:
    """The stand-in as its administrator would have set it up: the public key, an account for each person, pages."""
    people = User.objects.filter(wecom_accounts__corp__in=corps).order_by("username").distinct()
    public = bi.public_key(connection)
    return {
        "provider": connection.provider,
        "public_key": public[0] if public else "",
        "app_token": connection.app_token,
        "users": [
            {"login_id": API_USER, "name": "API", "password": connection.api_password},
            *({"login_id": person.username, "name": person.name, "email": person.email} for person in people),
        ],
        "pages": _pages(),
    }


def _pages() -> list[dict[str, Any]]:
    """One page for each report, with its card; beside two of them the same figures as a pivot."""
    weather = _page("天气总览", WEATHER, WEATHER_SOURCE, weather_rows())
    power = _page("发电结构", POWER, POWER_SOURCE, power_rows())
    harvest = _page("区域产量", HARVEST, HARVEST_SOURCE, harvest_rows())
    _add_pivot(power, {"rows": ["年份"], "columns": ["来源"], "values": ["净发电量"]})
    _add_pivot(harvest, {"rows": ["区域", "品种"], "columns": ["年份"], "values": ["产量"]})
    return [weather, power, harvest]


def _add_pivot(page: dict[str, Any], pivot: dict[str, list[str]]) -> None:
    card = page["cards"][0]
    page["cards"].append(
        {**card, "card_id": f"{card['card_id']}-pivot", "name": f"{card['name']}（透视表）", "pivot": pivot}
    )


def _page(name: str, report: DemoReport, source: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    page_id, card_id = PLACES[report.alias]
    card = {"card_id": card_id, "name": report.card, "source": source, "columns": [*rows[0]], "rows": rows}
    return {"page_id": page_id, "name": name, "cards": [card]}
