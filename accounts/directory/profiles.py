"""Copies name, e-mail and mobile of linked people from WeCom where the policy says so.

Of several accounts of one company the newest one tells. The rule stands here twice, for rows in hand and for a query
that finds where it is not kept; tests/accounts/directory/test_following.py holds the two against each other.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Left, NullIf

from accounts.models import User, WeComAccount
from integrations.models import Corp, Member

# Columns of User with their longest value.
FOLLOWING = {"name": 64, "email": 254, "mobile": 32}


def wecom_values_of(member: Member) -> dict[str, str]:
    """What WeCom tells of somebody, as columns of User; what it withholds or leaves empty is not in it."""
    values = {"name": member.name, "email": member.email or member.biz_mail, "mobile": member.mobile}
    return {name: value[: FOLLOWING[name]] for name, value in values.items() if value}


def differences(person: User, wecom_values: dict[str, str]) -> list[list[Any]]:
    """Column, old and new value of what does not follow yet."""
    return [
        [name, getattr(person, name), value] for name, value in wecom_values.items() if getattr(person, name) != value
    ]


def newest_userids(corp: Corp, user_ids: list[int]) -> dict[int, str]:
    """Of each person the folded userid of the account that tells."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__in=user_ids).order_by("pk")
    return dict(accounts.values_list("user_id", "userid_folded"))


def with_wecom_values(members: QuerySet[Member]) -> QuerySet[Member]:
    """`members` with wecom_name, wecom_email and wecom_mobile, for `is_followed`."""
    email = Coalesce(NullIf(F("email"), Value("")), F("biz_mail"))
    values: dict[str, Combinable] = {"name": F("name"), "email": email, "mobile": F("mobile")}
    return members.alias(**{f"wecom_{name}": Left(values[name], longest) for name, longest in FOLLOWING.items()})


def is_followed() -> Q:
    """Of accounts in a subquery of `with_wecom_values`: whose person is as in WeCom, or has a newer account."""
    followed = Q()
    for name in FOLLOWING:
        column = f"user__{name}"
        followed &= Q(**{column: Coalesce(NullIf(OuterRef(f"wecom_{name}"), Value("")), F(column))})
    newer = WeComAccount.objects.complete().filter(corp=OuterRef("corp"), user=OuterRef("user"), pk__gt=OuterRef("pk"))
    return followed | Q(Exists(newer))
