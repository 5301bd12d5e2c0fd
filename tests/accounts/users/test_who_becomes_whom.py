"""Fields that people may edit give nobody rights: the table of docs/en/administration.md, field by field.

Each form is sent as its page shows it, with one field changed, by a system administrator of one company, one of all,
and a superuser. The company has been enabled.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.directory.matching import match_members
from accounts.models import Attribute, DirectoryPolicy, LinkConflict, User
from accounts.users.bi_identity import LOGIN_ID
from accounts.users.roles import Role
from integrations.admin.bi import BiConnectionForm
from integrations.admin.companies import CorpForm, SiteAddressForm
from integrations.models import Corp, DataSource, Member, SiteAddress
from tests.accounts.conftest import make_person
from tests.accounts.people import sent_form, signed_in, with_role
from tests.bi import make_bi
from tests.integrations.core.test_validators import certificate
from tests.integrations.pages import version_on

DOCS = Path(__file__).resolve().parents[3] / "docs" / "en" / "administration.md"
OWN, ALL, SUPERUSER = "administrator of the company", "administrator of all companies", "superuser"


@dataclass(frozen=True)
class Row:
    """A changed field. `by` names those for whom the change takes effect; `sent` is the change with what it needs.

    `is_unticked`: a tick is removed.
    """

    name: str
    by: tuple[str, ...]
    sent: dict[str, str] = field(default_factory=dict)
    is_unticked: bool = False
    seen: Callable[[], object] | None = None

    @property
    def page(self) -> str:
        return self.name.split(".")[0]

    @property
    def column(self) -> str:
        name = self.name.split(".")[1].removeprefix("new_").removeprefix("remove_")
        return "proxy_url" if name == "proxy" else name


def has_staged() -> bool:
    return Corp.objects.exclude(staged_state="").exists()


ANYBODY, MANAGERS_OF_ALL, SUPERUSERS = (OWN, ALL, SUPERUSER), (ALL, SUPERUSER), (SUPERUSER,)
NEW = {"new_secret": "another-secret"}
PASTED = {**NEW, "remove_contacts_secret": "on"}
BI_PASTED = {"new_api_password": "p", "remove_app_token": "on"}
CORP = [
    Row("Corp.name", MANAGERS_OF_ALL, {"name": "新名"}),
    Row("Corp.corpid", (), {"corpid": "ww" + "7" * 16}),
    Row("Corp.agentid", SUPERUSERS, {"agentid": "1000099", **NEW}, seen=has_staged),
    Row("Corp.new_secret", SUPERUSERS, NEW, seen=has_staged),
    Row("Corp.new_contacts_secret", SUPERUSERS, {"new_contacts_secret": "another-secret"}),
    Row("Corp.remove_contacts_secret", SUPERUSERS, {"remove_contacts_secret": "on"}),
    Row("Corp.department_root_ids", ANYBODY, {"department_root_ids": "2"}),
    Row("Corp.sign_in_enabled", ANYBODY, is_unticked=True),
    Row("Corp.admin_rights_enabled", SUPERUSERS, {"admin_rights_enabled": "on"}),
    Row("Corp.domain_id", ANYBODY, {"domain_id": "north"}),
    Row("Corp.site_address", SUPERUSERS, {"site_address": "other"}),
    Row("Corp.noted_ips", ANYBODY, {"noted_ips": "1.2.3.4"}),
    Row("Corp.home_page", ANYBODY, {"home_page": "bi"}),
    Row("Corp.home_bi_page", ANYBODY, {"home_bi_page": "page/abc"}),
    Row("Corp.bi_sign_in_enabled", ANYBODY, is_unticked=True),
    Row("Corp.api_base_url", SUPERUSERS, {"api_base_url": "https://own.example", **PASTED}),
    Row("Corp.authorize_base_url", SUPERUSERS, {"authorize_base_url": "https://own.example"}),
    Row("Corp.qr_base_url", SUPERUSERS, {"qr_base_url": "https://own.example"}),
    Row(
        "Corp.new_proxy_url",
        SUPERUSERS,
        {"new_proxy_url": "http://own.example:1", **PASTED},
    ),
    Row("Corp.remove_proxy", SUPERUSERS, {"remove_proxy": "on"}),
    Row("Corp.ca_bundle", SUPERUSERS, {"ca_bundle": "a certificate", **PASTED}),
]
BI = [
    Row("BiConnection.base_url", SUPERUSERS, {"base_url": "https://own.example", **BI_PASTED}),
    Row("BiConnection.external_id_source", SUPERUSERS, {"external_id_source": LOGIN_ID}),
    Row("BiConnection.ca_bundle", SUPERUSERS, {"ca_bundle": "a certificate", **BI_PASTED}),
    Row("BiConnection.new_proxy_url", SUPERUSERS, {"new_proxy_url": "http://own.example:1", **BI_PASTED}),
    Row("BiConnection.remove_proxy", SUPERUSERS, {"remove_proxy": "on"}),
    Row("BiConnection.provider", MANAGERS_OF_ALL, {"provider": "other"}),
    Row("BiConnection.domain_id", MANAGERS_OF_ALL, {"domain_id": "other"}),
    Row("BiConnection.is_enabled", MANAGERS_OF_ALL, is_unticked=True),
    Row("BiConnection.token_seconds", MANAGERS_OF_ALL, {"token_seconds": "90"}),
    Row("BiConnection.desktop_page", MANAGERS_OF_ALL, {"desktop_page": "/other/{id}"}),
    Row("BiConnection.phone_page", MANAGERS_OF_ALL, {"phone_page": "/other/{id}"}),
    Row("BiConnection.desktop_home", MANAGERS_OF_ALL, {"desktop_home": "/other"}),
    Row("BiConnection.phone_home", MANAGERS_OF_ALL, {"phone_home": "/other"}),
    Row("BiConnection.routed_paths", MANAGERS_OF_ALL, {"routed_paths": "other"}),
    Row("BiConnection.api_domain", MANAGERS_OF_ALL, {"api_domain": "other"}),
    Row("BiConnection.api_login", MANAGERS_OF_ALL, {"api_login": "other"}),
    Row("BiConnection.new_api_password", MANAGERS_OF_ALL, {"new_api_password": "another-password"}),
    Row("BiConnection.new_app_token", MANAGERS_OF_ALL, {"new_app_token": "another-token"}),
    Row("BiConnection.remove_app_token", MANAGERS_OF_ALL, {"remove_app_token": "on"}),
]
POLICY = [
    Row("DirectoryPolicy.corp", (), {"corp": "other company"}),
    Row("DirectoryPolicy.mode", MANAGERS_OF_ALL, {"mode": "off"}),
    Row("DirectoryPolicy.match_username", MANAGERS_OF_ALL, is_unticked=True),
    Row("DirectoryPolicy.match_email", MANAGERS_OF_ALL, {"match_email": "on"}),
    Row("DirectoryPolicy.match_mobile", MANAGERS_OF_ALL, is_unticked=True),
    Row("DirectoryPolicy.number_attribute", MANAGERS_OF_ALL, {"number_attribute": "number"}),
    Row("DirectoryPolicy.number_field", MANAGERS_OF_ALL, {"number_attribute": "number", "number_field": "工号"}),
    Row("DirectoryPolicy.leavers", MANAGERS_OF_ALL, {"leavers": "unlink"}),
]
ADDRESS = [Row("SiteAddress.url", MANAGERS_OF_ALL, {"url": "https://own.example/", "_confirmed": "1"})]
TABLE = [*CORP, *BI, *POLICY, *ADDRESS]


@dataclass
class Site:
    """The rows to edit, one of each kind, and the meanings of the table's words."""

    rows: dict[str, models.Model]
    words: dict[str, str]
    persons: dict[str, User]


@pytest.fixture
def site(corp: Corp, other_corp: Corp) -> Site:
    """A site whose address belongs to a company that was never enabled."""
    own = SiteAddress.objects.create(url="https://north.example/")
    new = Corp.objects.create(name="东江", corpid="ww" + "8" * 16, agentid=1000008, secret="s", site_address=own)
    Corp.objects.filter(pk=corp.pk).update(
        first_enabled_at=timezone.now(), contacts_secret="c", proxy_url="http://proxy.example:1"
    )
    number = Attribute.objects.create(key="number", name="工号", is_employee_number=True, is_unique=True)
    policy = DirectoryPolicy.objects.create(corp=corp, mode="link", match_mobile=True)
    bi = make_bi(api_login="robot", api_password="p", app_token="t", proxy_url="http://proxy.example:1")
    persons = {
        OWN: with_role("own", Role.SYSTEM_ADMINISTRATOR, corp, new),
        ALL: with_role("all", Role.SYSTEM_ADMINISTRATOR),
        SUPERUSER: User.objects.create_superuser("root"),
    }
    words = {"other": own.pk, "number": number.pk, "other company": other_corp.pk, "a certificate": certificate()}
    rows = {"Corp": corp, "BiConnection": bi, "DirectoryPolicy": policy, "SiteAddress": own}
    return Site(rows, {word: str(value) for word, value in words.items()}, persons)


@pytest.mark.parametrize("rows", [CORP, BI, POLICY, ADDRESS], ids=lambda rows: rows[0].page)
def test_a_field_is_changed_by_those_alone_whom_the_table_names(site: Site, rows: list[Row]) -> None:
    one = site.rows[rows[0].page]
    path = reverse(f"admin:{one._meta.app_label}_{one._meta.model_name}_change", args=[one.pk])
    clients = {name: signed_in(person) for name, person in site.persons.items()}
    unchanged = sent_form(clients[SUPERUSER], path)
    versions = {name: version_on(client, path) for name, client in clients.items()}

    found = {}
    for row in rows:
        form = unchanged | {name: site.words.get(value, value) for name, value in row.sent.items()}
        if row.is_unticked:
            del form[row.column]
        found[row.name] = tuple(
            name
            for name, client in clients.items()
            if takes_effect(row, one, client.post, path, {**form, "page_version": versions[name]})
        )

    assert found == {row.name: row.by for row in rows}


def takes_effect(row: Row, one: models.Model, post: Callable[..., Any], path: str, form: dict[str, Any]) -> bool:
    """Return whether the change takes effect; roll it back."""

    def seen() -> object:
        return row.seen() if row.seen else type(one)._default_manager.values_list(row.column).get(pk=one.pk)

    with transaction.atomic():
        before = seen()
        answer = post(path, form)
        assert answer.status_code in {302, 403}, answer.context["adminform"].form.errors
        after = seen()
        transaction.set_rollback(True)
    return after != before


def test_no_account_of_ones_own_company_is_given_to_somebody_who_has_more(
    site: Site, corp: Corp, other_corp: Corp
) -> None:
    """Stop whoever controls the company's directory from signing in as that person."""
    people: dict[str, dict[str, Any]] = {
        "superuser": {"is_staff": True, "is_superuser": True},
        "administrator of all": {"is_staff": True, "manages_all_corps": True},
        "superuser without entry": {"is_superuser": True},
        "somebody of another company": {},
    }
    root, own = signed_in(site.persons[SUPERUSER]), signed_in(site.persons[OWN])
    for userid, values in people.items():
        person = make_person(userid, corp, userid, **values)
        if not values:
            person.wecom_accounts.create(corp=other_corp, userid="boss", is_primary=False)
        path = reverse("admin:accounts_user_change", args=[person.pk])
        form = sent_form(root, path)
        for column, changed in (("corp", ""), ("userid", "attacker")):
            assert own.post(path, {**form, f"wecom_accounts-0-{column}": changed}).status_code == 403
        assert list(person.wecom_accounts.filter(is_primary=True).values_list("corp", "userid")) == [(corp.pk, userid)]


@pytest.mark.parametrize("key", ["username", "email", "mobile"])
def test_no_matching_key_links_a_member_with_somebody_who_has_rights(corp: Corp, key: str) -> None:
    """Cover `User.username`, `User.email` and `User.mobile`, which a member's entry in WeCom sets."""
    policy = DirectoryPolicy(corp=corp, mode="create", match_email=True, match_mobile=True)
    now = timezone.now()
    for right, number in (("is_staff", "13000000001"), ("is_superuser", "13000000002")):
        User.objects.create(**{"username": right, right: True, key: number})
        same = dict.fromkeys(("userid", "userid_folded", "email", "mobile"), number)
        member = Member.objects.create(corp=corp, first_seen_at=now, changed_at=now, **same)

        [found] = match_members(corp=corp, policy=policy, members=[member])

        assert found.conflict == LinkConflict.Reason.PROTECTED


def test_the_bi_is_no_data_source_of_a_company_s_administrator(site: Site, corp: Corp) -> None:
    """Cover `DataSource.kind`: the BI's cards are read as its API user, whom no company limits."""
    path = reverse("admin:integrations_datasource_add")
    form = {
        **{"name": "BI", "kind": "guandata", "is_enabled": "on", "corp": str(corp.pk)},
        **{"timeout_seconds": "30", "row_limit": "100", "parallel_limit": "2"},
    }

    found = []
    for name in (OWN, ALL):
        signed_in(site.persons[name]).post(path, form)
        found.append(DataSource.objects.filter(kind="guandata").count())

    assert found == [0, 1]


def test_no_field_is_missing_in_the_table() -> None:
    forms = {"Corp": CorpForm, "BiConnection": BiConnectionForm, "SiteAddress": SiteAddressForm}
    fields = {f"{page}.{name}" for page, form in forms.items() for name in form.base_fields if name != "page_version"}
    policy = {field.name for field in DirectoryPolicy._meta.fields if field.editable} - {"id"}
    named = {row.name for row in TABLE}

    assert named == fields | {f"DirectoryPolicy.{name}" for name in policy}
    documented = set(re.findall(r"`([A-Z]\w+\.\w+)`", DOCS.read_text("utf-8")))
    assert named <= documented
