"""A connected BI at the wire with one card, as rows and as answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.models import Card, CardData, DataSource
from tests.bi import make_bi
from tests.guandata import HOST, PASSWORD

NOW = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
SLOT = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **units: float) -> datetime:
        self.now += timedelta(**units)
        return self.now


def make_source(**values: Any) -> DataSource:
    return DataSource.objects.create(**{"name": "观远", "kind": "guandata", **values})


def make_card(source: DataSource | None = None, **values: Any) -> Card:
    """Make a card of the BI, and connect the BI."""
    if source is None:
        make_bi(base_url=HOST, api_login="robot", api_password=PASSWORD)
        source = make_source()
    return Card.objects.create(**{"source": source, "name": "区域销售额", "bi_card_id": "c1", **values})


def row_of(card: Card) -> CardData:
    return CardData.objects.get(card=card)
