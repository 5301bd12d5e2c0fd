"""Which corps an administrator may see. Asked here by every list; answered by the app that knows the person.

`accounts` registers the answer in its AppConfig.ready(): integrations, the lowest app, knows no user model.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

Person = AbstractBaseUser | AnonymousUser
NOTHING = Q(pk__in=[])

_corp_filters: list[Callable[[Person], Q]] = []


def register_corp_filter(corp_filter: Callable[[Person], Q]) -> None:
    """`corp_filter` gives the condition on Corp that a person's view is limited to. Several are joined by AND."""
    if corp_filter not in _corp_filters:
        _corp_filters.append(corp_filter)


def corp_condition(person: Person) -> Q:
    """The condition on Corp for what `person` may see; nothing as long as no app has registered a filter."""
    if not _corp_filters:
        return NOTHING
    condition = Q()
    for corp_filter in _corp_filters:
        condition &= corp_filter(person)
    return condition
