"""Which companies an administrator may see.

`accounts` registers the answer in its AppConfig.ready(): integrations, the lowest app, knows no user model.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from integrations.hooks import Hook

Person = AbstractBaseUser | AnonymousUser
NOTHING = Q(pk__in=[])
# Not Q(), which joined by OR with a condition would be that condition.
EVERYTHING = ~NOTHING

# Asked for the condition on Corp that a person's view is limited to. Several are joined by AND.
corp_conditions: Hook[[Person], Q] = Hook()


def corp_condition(person: Person) -> Q:
    """The condition on Corp for what `person` may see; nothing as long as no app has registered a condition."""
    conditions = corp_conditions(person)
    return reduce(and_, conditions) if conditions else NOTHING
