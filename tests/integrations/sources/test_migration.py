"""The migration that brought data for pages, from the state before with rows."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from tests.databases import Stages, migrated
from tests.integrations.sources.place import NOW, SLOT

pytestmark = pytest.mark.django_db(transaction=True)


def test_data_of_before_keeps_its_slot_and_stays_one_for_each(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0012_slow_sources")])
    source = apps.get_model("integrations", "DataSource").objects.create(name="观远", kind="guandata")
    card = apps.get_model("integrations", "Card").objects.create(source=source, name="c")
    times = {"requested_at": NOW, "next_try_at": NOW}
    apps.get_model("integrations", "CardData").objects.create(card=card, slot_at=SLOT, **times)

    after = migrated([("integrations", "0013_card_data_of_pages")])

    rows = after.get_model("integrations", "CardData").objects
    assert [row.slot_at for row in rows.all()] == [SLOT]
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.create(card_id=card.pk, slot_at=SLOT, **times)
    for _page in range(2):
        rows.create(card_id=card.pk, slot_at=None, **times)
    assert rows.count() == 3
