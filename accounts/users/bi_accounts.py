"""As whom people enter the BI: for one person at a click, for thousands when pictures of its pages are planned."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from django.db.models.functions import Lower

from accounts.models import User, WeComAccount, barred_by_wecom
from integrations import bi
from integrations.core.hooks import external_id_of
from integrations.models import Corp

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.models import QuerySet


def identities(user_ids: Collection[int]) -> dict[int, str]:
    """As whom each of these people enters the BI, by their keys: of those alone who may enter it, through a company of
    theirs, and have an account there. A fixed number of queries."""
    source = external_id_of(bi.connection().external_id_source)
    if source is None:
        return {}
    accounts = WeComAccount.objects.complete().filter(~barred_by_wecom(), corp__in=open_corps(), user__is_active=True)
    may_enter = set(accounts.filter(user__in=user_ids).values_list("user_id", flat=True))
    return {pk: found for pk, found in source.of_all(may_enter).items() if found}


def open_corps() -> QuerySet[Corp]:
    """Those through which people enter the BI."""
    return Corp.objects.enabled().filter(bi_sign_in_enabled=True)


def usernames(user_ids: Collection[int]) -> dict[int, str]:
    """Not one that somebody else spells in upper case: two names here can be one account in the BI. Nor one that the
    directory has made (accounts.directory.newcomers): it may be another person's there."""
    people = [one for one in User.objects.filter(pk__in=user_ids) if not one.has_made_username]
    shared = _holders("username", [one.username for one in people])
    return {one.pk: one.username for one in people if not shared[one.username.lower()] - {one.pk}}


def emails(user_ids: Collection[int]) -> dict[int, str]:
    """A shared value is refused: the BI could not tell the people apart, and would let one in as the other."""
    people = list(User.objects.filter(pk__in=user_ids).exclude(email="").only("email"))
    shared = _holders("email", [one.email for one in people])
    return {one.pk: one.email for one in people if not shared[one.email.lower()] - {one.pk}}


def _holders(field: str, values: Collection[str]) -> dict[str, set[int]]:
    """Who has one of these values in whatever letters, by the value in lower case."""
    rows = User.objects.annotate(folded=Lower(field)).filter(folded__in={value.lower() for value in values})
    found: dict[str, set[int]] = defaultdict(set)
    for pk, folded in rows.values_list("pk", "folded"):
        found[folded].add(pk)
    return found
