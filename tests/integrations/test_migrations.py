"""The migrations of integrations, each from the state before with rows in it."""

from __future__ import annotations

import pytest

from tests.databases import Stages, migrated

pytestmark = pytest.mark.django_db(transaction=True)


def test_data_sources_of_before_are_not_slow_and_keep_what_they_have(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0011_bi_listing")])
    apps.get_model("integrations", "DataSource").objects.create(
        name="数仓", kind="sql", sql_url="postgresql://reader@db.example.com/bi", parallel_limit=3
    )

    after = migrated([("integrations", "0012_slow_sources")])

    source = after.get_model("integrations", "DataSource").objects.get()
    assert (source.name, source.parallel_limit, source.slow_since) == ("数仓", 3, None)
    assert source.sql_url == "postgresql://reader@db.example.com/bi"


def test_cards_of_before_name_no_column_of_the_datas_time(stages: Stages) -> None:
    apps = stages.enter([("integrations", "0013_card_data_of_pages")])
    source = apps.get_model("integrations", "DataSource").objects.create(name="数仓", kind="sql")
    apps.get_model("integrations", "Card").objects.create(name="销售", source=source, sql="SELECT 1")

    after = migrated([("integrations", "0014_time_of_data")])

    card = after.get_model("integrations", "Card").objects.get()
    assert (card.sql, card.as_of_column) == ("SELECT 1", "")


@pytest.mark.parametrize(("count", "carries_rights"), [(1, [True]), (2, [False, False])])
def test_an_only_company_goes_on_carrying_administrators_rights(
    stages: Stages, count: int, carries_rights: list[bool]
) -> None:
    corps = stages.enter([("integrations", "0015_heartbeats")]).get_model("integrations", "Corp").objects
    for number in range(count):
        corps.create(name=f"公司 {number}", corpid=f"ww{number:016d}", agentid=1, secret="s")

    after = migrated([("integrations", "0016_admin_rights_after_wecom")])

    found = after.get_model("integrations", "Corp").objects.values_list("admin_rights_enabled", flat=True)
    assert list(found) == carries_rights


def test_databases_of_before_are_reached_wherever_they_lie(stages: Stages) -> None:
    sources = stages.enter([("integrations", "0018_staged_credentials")]).get_model("integrations", "DataSource")
    for name, columns in {
        "server": {"kind": "sql", "sql_url": "mysql://reader@10.0.0.1/bi"},
        "file": {"kind": "sql", "sql_url": "sqlite:////data/facts.db"},
        "service": {"kind": "json", "http_url": "https://api.example.com"},
    }.items():
        sources.objects.create(name=name, **columns)

    after = migrated([("integrations", "0019_reach_of_sources")]).get_model("integrations", "DataSource").objects

    assert dict(after.values_list("name", "allows_private_addresses")) == {
        "server": True,
        "file": False,
        "service": False,
    }
    assert set(after.values_list("account_powers", "account_checked_at")) == {("", None)}
