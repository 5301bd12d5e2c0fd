"""A person's other companies, which pages must not reveal to an administrator of one company."""

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from accounts.models import User, WeComAccount
from accounts.users.roles import Role
from integrations.models import Corp
from notifications.admin.log import search_people
from tests.accounts.conftest import make_person
from tests.accounts.people import LIST, sent_form, signed_in, with_role

HIDDEN_NAME, HIDDEN_USERID = "Hidden Company", "hidden-userid"


@pytest.fixture
def hidden(other_corp: Corp) -> Corp:
    other_corp.name = HIDDEN_NAME
    other_corp.save()
    return other_corp


@pytest.fixture
def person(corp: Corp, hidden: Corp, root: User) -> User:
    """A person of both companies; the account in the hidden one was added in the administration."""
    found = make_person("lilei", corp, "LiLei")
    path = f"{LIST}{found.pk}/change/"
    added = {"corp": hidden.pk, "userid": HIDDEN_USERID, "user": found.pk}
    fields = {f"wecom_accounts-1-{name}": value for name, value in added.items()}
    client = signed_in(root)
    assert client.post(path, {**sent_form(client, path), "wecom_accounts-TOTAL_FORMS": 2, **fields}).status_code == 302
    return found


def test_the_history(person: User, limited: User, root: User) -> None:
    path = f"{LIST}{person.pk}/history/"
    seen, shown = signed_in(root).get(path).content.decode(), signed_in(limited).get(path).content.decode()

    assert f"{HIDDEN_NAME} / {HIDDEN_USERID}" in seen
    assert HIDDEN_NAME not in shown
    assert HIDDEN_USERID not in shown
    assert "“…”" in shown


@pytest.mark.parametrize("way", ["page", "action"])
def test_what_goes_with_a_person_who_is_deleted(corp: Corp, hidden: Corp, limited: User, root: User, way: str) -> None:
    """Delete the log of what they did as administrator of another company without naming it."""
    former = make_person("former", corp, "Former")
    LogEntry.objects.create(
        user=former,
        content_type=ContentType.objects.get_for_model(Corp),
        object_id=str(hidden.pk),
        object_repr=HIDDEN_NAME,
        action_flag=CHANGE,
    )

    def shown_to(client: Client) -> str:
        if way == "page":
            return client.get(f"{LIST}{former.pk}/delete/").content.decode()
        chosen = {"action": "delete_selected", "_selected_action": [former.pk]}
        return client.post(LIST, chosen).content.decode()

    assert HIDDEN_NAME in shown_to(signed_in(root))
    shown = shown_to(signed_in(limited))
    assert HIDDEN_NAME not in shown
    assert f'<a href="{LIST}{former.pk}/change/">former</a>' in shown


@pytest.mark.parametrize("page", [LIST, "/admin/autocomplete/"])
def test_a_search_by_the_account_there(person: User, root: User, corp: Corp, page: str) -> None:
    editor = with_role("editor", Role.PUSH_EDITOR, corp)
    select = {"app_label": "notifications", "model_name": "subscription", "field_name": "users"}

    def found(who: User, words: str) -> bool:
        if page == LIST:
            return person in signed_in(who).get(LIST, {"q": words}).context["cl"].queryset
        results = signed_in(who).get(page, {**select, "term": words}).json()["results"]
        return str(person.pk) in [result["id"] for result in results]

    assert [found(root, words) for words in (HIDDEN_USERID, "lilei")] == [True, True]
    assert [found(editor, words) for words in (HIDDEN_USERID, "LILEI", "lil ile")] == [False, True, True]


def test_a_search_of_the_log_by_the_account_there(person: User, root: User, limited: User) -> None:
    assert search_people(HIDDEN_USERID, seen_by=root) == [person.pk]
    assert search_people(HIDDEN_USERID, seen_by=limited) == []
    assert search_people("LiLei", seen_by=limited) == [person.pk]


def test_a_filter_by_rights_that_the_pages_hide(person: User, hidden: Corp, limited: User, root: User) -> None:
    limited_client, client = signed_in(limited), signed_in(root)
    for query, for_superusers in (
        (f"managed_corps={hidden.pk}", 200),
        (f"managed_corps__id__exact={hidden.pk}", 200),
        # The list has no such column, and refuses lookups of columns it does not show.
        ("is_superuser=1", 400),
        ("manages_all_corps=1", 400),
    ):
        assert limited_client.get(f"{LIST}?{query}").status_code == 400
        assert client.get(f"{LIST}?{query}").status_code == for_superusers


def test_a_person_found_by_several_accounts_stands_in_the_list_once(person: User, root: User, corp: Corp) -> None:
    WeComAccount.objects.create(user=person, corp=corp, userid="LiLei-2", is_primary=False)
    assert list(signed_in(root).get(LIST, {"q": "lilei"}).context["cl"].result_list) == [person]
