"""The rule by which name, e-mail and mobile follow WeCom stands twice: for rows in hand and as a query. Both agree."""

from __future__ import annotations

from itertools import product

import pytest
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.directory.linking import (
    FOLLOWING,
    differences,
    is_followed,
    newest_userids,
    wecom_values_of,
    with_wecom_values,
)
from accounts.models import User, WeComAccount
from integrations.models import Corp, Member

NAMES = (None, "", "李雷", "Li Lei", "名" * 100)
MAILS = (None, "", "a@example.com", "A@example.com")


def linked(corp: Corp, userid: str, person: dict[str, str], **columns: str | None) -> Member:
    user = User.objects.create(username=userid, **person)
    WeComAccount.objects.create(user=user, corp=corp, userid=userid, is_primary=True)
    now = timezone.now()
    return Member.objects.create(
        corp=corp, userid=userid, userid_folded=userid, first_seen_at=now, changed_at=now, **columns
    )


def followed(corp: Corp) -> set[str]:
    """Userids of those of whom the query says that their people have what WeCom tells."""
    account = WeComAccount.objects.filter(corp=corp, userid_folded=OuterRef("userid_folded"))
    members = with_wecom_values(Member.objects.filter(corp=corp)).filter(Exists(account.filter(is_followed())))
    return set(members.values_list("userid", flat=True))


def test_rows_in_hand_and_the_query_say_the_same(corp: Corp) -> None:
    people = [{"name": name, "email": email} for name, email in product(("", "李雷", "名" * 64), ("", "a@example.com"))]
    cases = [*product(people, NAMES, MAILS, (None, "a@example.com")), ({"mobile": "1"}, None, None, None)]
    members = [
        linked(corp, f"user{number}", person, name=name, email=email, biz_mail=biz_mail, mobile="1")
        for number, (person, name, email, biz_mail) in enumerate(cases)
    ]

    expected = {
        one.userid for one in members if not differences(User.objects.get(username=one.userid), wecom_values_of(one))
    }

    assert followed(corp) == expected
    # Everybody but the last lacks the mobile.
    assert expected == {members[-1].userid}


@pytest.mark.parametrize("column", FOLLOWING)
def test_each_column_counts_for_itself(corp: Corp, column: str) -> None:
    same = dict.fromkeys(FOLLOWING, "a@example.com")
    linked(corp, "same", same, **same)
    linked(corp, "other", {**same, column: "b@example.com"}, **same)
    linked(corp, "withheld", {**same, column: "b@example.com"}, **{**same, column: None})
    linked(corp, "empty", {**same, column: "b@example.com"}, **{**same, column: ""})

    assert followed(corp) == {"same", "withheld", "empty"}


def test_the_company_mail_counts_where_there_is_no_other(corp: Corp) -> None:
    linked(corp, "same", {"email": "work@example.com"}, email="", biz_mail="work@example.com")
    linked(corp, "other", {"email": "work@example.com"}, email="own@example.com", biz_mail="work@example.com")

    assert followed(corp) == {"same"}


def test_of_two_accounts_of_a_company_the_newer_one_tells(corp: Corp) -> None:
    linked(corp, "older", {"name": "新"}, name="旧")
    linked(corp, "newer", {}, name="新")
    person = User.objects.get(username="older")
    WeComAccount.objects.filter(userid="newer").update(user=person, is_primary=False)

    assert newest_userids(corp, [person.pk]) == {person.pk: "newer"}
    assert followed(corp) == {"older", "newer"}
