"""Change forms, for everybody who may use them: one saved as it was opened changes nothing."""

from typing import Any

import pytest
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from integrations.models import Card, Corp, DataSource
from notifications.alerts import evaluation
from tests.admin_table import TABLE
from tests.admin_world import World
from tests.bi import make_bi
from tests.browser_form import parse_form

pytestmark = pytest.mark.django_db
PROXY = "http://user:password@proxy.example.com:8080"
# Set by saving, not typed: see DepartmentGroupAdmin.save_model.
SET_BY_SAVING = {"may_lend_rights"}
# Somebody who fills in each kind of form, for all companies or for one.
WHO = ("U", "SA", "S1", "I1", "P1")
PAGES = sorted(
    {
        (row.page.removesuffix("_change"), row.args[0])
        for row in TABLE
        if row.page.endswith("_change") and row.method == "post" and (row.changed_by or 200 in row.expected.values())
    }
    # Passwords: no page shows the saved one.
    - {("auth_user_password", "worker")}
    | {("integrations_corp", "second"), ("integrations_corp", "new corp"), ("accounts_user", "S1")}
    | {("integrations_datasource", "sql source"), ("integrations_datasource", "json source")}
    | {("integrations_card", "sql card")}
)


@pytest.fixture(autouse=True)
def _one_host(settings: Settings) -> None:
    settings.EXTRA_ALLOWED_HOSTS = ["testserver"]


@pytest.fixture(scope="module", autouse=True)
def _secrets(world: World, django_db_blocker: DjangoDbBlocker) -> None:
    """A secret in every field that can hold one, because forms ask for secrets again when an address changes."""
    with django_db_blocker.unblock():
        _save_secrets(world)


def _save_secrets(world: World) -> None:
    make_bi(is_enabled=False, api_login="robot", api_password="p", app_token="t", proxy_url=PROXY)
    Corp.objects.filter(pk=world.things["corp"].pk).update(
        proxy_url=PROXY, api_base_url="https://wecom.example.com", is_enabled=True, first_enabled_at=timezone.now()
    )
    new = Corp.objects.create(name="Alpha's other app", corpid="ww" + "1" * 16, agentid=1000009, secret="s9")
    for who in ("S1", "I1"):
        world.people[who].managed_corps.add(new)
    # Store what the rule watches, as saving it on its page does.
    evaluation.reset_changed_rule(world.things["alert_rule"], now=timezone.now())
    figures = DataSource.objects.create(
        name="Alpha service",
        kind="json",
        corp=world.things["corp"],
        http_url="https://service.example.com",
        http_headers="Authorization: Bearer t",
    )
    DataSource.objects.filter(name="Alpha figures").update(sql_url="postgresql://u:p@db.example.com/figures")
    world.things |= {
        "json source": figures,
        "sql source": DataSource.objects.get(name="Alpha figures"),
        "sql card": Card.objects.get(name="Alpha sales"),
        "new corp": new,
        "S1": world.people["S1"],
    }


def _values(row: models.Model) -> dict[str, Any]:
    """Return the saved values without the time of saving; many-to-many fields give their keys."""
    model = type(row)
    fields = [field for field in model._meta.concrete_fields if not getattr(field, "auto_now", False)]
    found = model._base_manager.defer(None).get(pk=row.pk)
    chosen = {many.name: set(many.value_from_object(found)) for many in model._meta.many_to_many}
    return {one.name: getattr(found, one.attname) for one in fields if one.name not in SET_BY_SAVING} | chosen


@pytest.mark.parametrize(("model", "thing"), PAGES)
def test_a_form_that_is_saved_as_it_was_opened_changes_nothing(model: str, thing: str, world: World) -> None:
    row = world.things[thing]
    path = reverse(f"admin:{model}_change", args=[row.pk])
    before = _values(row)
    found: dict[str, Any] = {}
    for who in WHO:
        client = world.client(who)
        opened = client.get(path)
        if opened.status_code != 200 or not opened.context["has_change_permission"]:
            continue
        sent = parse_form(opened.content.decode(), f"{type(row)._meta.model_name}_form")
        with transaction.atomic():
            response = client.post(path, sent)
            errors = list(response.context["errors"]) if response.status_code == 200 else []
            found[who] = (response.status_code, errors, _values(row) == before)
            transaction.set_rollback(True)

    assert found
    assert found == dict.fromkeys(found, (302, [], True))
