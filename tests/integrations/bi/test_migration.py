"""The step from the release before: companies are kept, begin at home, and no BI is connected."""

from __future__ import annotations

import pytest

from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE, AFTER = [("integrations", "0006_event_work")], [("integrations", "0007_bi_connection")]


def test_companies_are_kept_and_begin_at_home(stages: Stages) -> None:
    old = stages.enter(BEFORE).get_model("integrations", "Corp")
    corp = old.objects.create(name="北山制造", corpid="ww0123456789abcdef", agentid=1, secret="s", domain_id="d1")

    apps = migrated(AFTER)

    kept = apps.get_model("integrations", "Corp").objects.get(pk=corp.pk)

    assert (kept.name, kept.secret, kept.domain_id) == ("北山制造", "s", "d1")
    assert (kept.home_page, kept.home_bi_page, kept.bi_sign_in_enabled) == ("ours", "", True)
    assert not apps.get_model("integrations", "BiConnection").objects.exists()
