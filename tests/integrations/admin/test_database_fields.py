"""Single fields for a database. Its password is never shown, and never sent elsewhere."""

import pytest
from django.test import Client
from django.urls import reverse

from integrations.models import DataSource
from tests.integrations.admin.test_source_admin import SECRET, SOURCE, send
from tests.integrations.clients.sources.place import make_source
from tests.integrations.pages import errors_of

pytestmark = pytest.mark.django_db
SAVED = f"postgresql://reader:{SECRET}@db.example.com:5433/sales?sslmode=require"
FIELDS = {
    "db_kind": "postgresql",
    "db_host": "db.example.com",
    "db_port": "5433",
    "db_name": "sales",
    "db_user": "reader",
}


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (FIELDS, "postgresql://reader:p%40ss%2F@db.example.com:5433/sales"),
        ({**FIELDS, "db_port": ""}, "postgresql://reader:p%40ss%2F@db.example.com/sales"),
        ({**FIELDS, "db_kind": "mysql", "db_port": ""}, "mysql://reader:p%40ss%2F@db.example.com/sales"),
        ({**FIELDS, "db_host": "2001:db8::1"}, "postgresql://reader:p%40ss%2F@[2001:db8::1]:5433/sales"),
    ],
)
def test_the_fields_make_the_address(root: Client, values: dict[str, str], address: str) -> None:
    answer = send(root, "datasource_add", **SOURCE, **values, db_password="p@ss/")
    assert answer.status_code == 302, errors_of(answer)
    assert DataSource.objects.get().sql_url == address


def test_the_page_shows_what_is_saved_but_not_the_password(root: Client) -> None:
    source = make_source(name="库", kind="sql", sql_url=SAVED, account_powers="files")
    answer = root.get(reverse("admin:integrations_datasource_change", args=[source.pk]))
    form = answer.context["adminform"].form
    assert {name: str(form[name].value()) for name in FIELDS} == FIELDS
    assert SECRET not in answer.text

    send(root, "datasource_change", source, **SOURCE, **FIELDS)  # unchanged fields change nothing
    source.refresh_from_db()
    assert (source.sql_url, source.account_powers) == (SAVED, "files")
    # Another database of the same server keeps password and options.
    answer = send(root, "datasource_change", source, **SOURCE, **{**FIELDS, "db_name": "stock"})
    assert answer.status_code == 302, errors_of(answer)
    source.refresh_from_db()
    assert source.sql_url == SAVED.replace("/sales", "/stock")


def test_another_kind_is_written_by_its_address_which_wins(root: Client) -> None:
    source = make_source(name="库", kind="sql", sql_url="oracle+oracledb://u@h/db")
    form = root.get(reverse("admin:integrations_datasource_change", args=[source.pk])).context["adminform"].form
    assert (form["db_kind"].value(), form["db_host"].value()) == ("", None)
    send(root, "datasource_add", **SOURCE, **FIELDS, new_sql_url="postgresql://reader@other.example.com/x")
    assert DataSource.objects.latest("pk").sql_url == "postgresql://reader@other.example.com/x"


def test_the_password_is_entered_again_for_another_place(root: Client) -> None:
    source = make_source(name="库", kind="sql", sql_url=SAVED)
    evil = {"db_host": "evil.example.com"}
    for moved in ({"db_port": "6000"}, {"db_user": "other"}, {"db_kind": "mysql"}, {"db_port": ""}, evil):
        refused = send(root, "datasource_change", source, **SOURCE, **{**FIELDS, **moved})
        assert list(errors_of(refused)) == ["db_password"]
        source.refresh_from_db()
        assert source.sql_url == SAVED
    send(root, "datasource_change", source, **SOURCE, **{**FIELDS, **evil}, db_password="new")
    source.refresh_from_db()
    assert "new@" in source.sql_url


def test_what_cannot_be_is_refused_at_its_field(root: Client) -> None:
    for values in (
        {"db_host": "", "db_name": "", "db_port": "0"},
        {"db_port": "99999", "db_kind": "oracle"},
        {"db_host": "/var/run"},
        {"db_host": "a@b"},
    ):
        answer = send(root, "datasource_add", **SOURCE, **{**FIELDS, **values}, db_password=SECRET)
        assert set(errors_of(answer)) == set(values)
        assert SECRET not in answer.text
    assert not DataSource.objects.exists()
