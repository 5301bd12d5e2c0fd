"""Whom pushes and alert receivers name, in a few words, for lists: the same few queries for any number of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db.models import Count, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from accounts.models import User
from accounts.users.scopes import people_visible_to
from notifications.models import AlertReceiver, AttributeRule, Subscription

if TYPE_CHECKING:
    from integrations.models.fields import Person

Model: TypeAlias = type[Subscription] | type[AlertReceiver]
# So many of each kind are named, more are counted.
NAMED_AT_MOST = 2


def in_words(orders: Sequence[Any], model: Model, *, seen_by: Person) -> dict[int, str]:
    """By the key of each of these orders of `model`. People whom `seen_by` does not see are counted, not named. Seven
    queries at most."""
    keys = [one.pk for one in orders]
    found: dict[int, list[str]] = defaultdict(list)
    for one in orders:
        if one.robot_id is not None:
            found[one.pk].append(_("a group robot's group"))
        elif one.to_everyone:
            found[one.pk].append(_("everyone"))
    for pk, (count, names) in _named(model, "departments", keys, Q()).items():
        words = ngettext("%(count)d department", "%(count)d departments", count) % {"count": count}
        found[pk].append(_joined(names) if len(names) == count else words)
    for pk, (count, names) in _named(model, "groups", keys, Q()).items():
        words = ngettext("%(count)d group", "%(count)d groups", count) % {"count": count}
        found[pk].append(_joined(names) if len(names) == count else words)
    for pk, (count, names) in _named(model, "users", keys, Q(user__in=people_visible_to(seen_by))).items():
        words = ngettext("%(count)d person", "%(count)d people", count) % {"count": count}
        found[pk].append(_joined(names) if len(names) == count else words)
    for pk, words in _rules(model, keys).items():
        found[pk].append(words)
    return {pk: _joined(found[pk]) or _("nobody") for pk in keys}


def _named(model: Model, field: str, keys: list[int], visible: Q) -> dict[int, tuple[int, list[str]]]:
    """By order how many of a kind it names, and the names of those who are `visible`, where they are few. Two
    queries at most."""
    through: Any = getattr(model, field).through
    order = f"{model._meta.model_name}_id"
    one = getattr(model, field).field.related_model._meta.model_name
    rows = through.objects.filter(**{f"{order}__in": keys}).order_by()
    counts = dict(rows.values_list(order).annotate(Count("pk")))
    few = [pk for pk, count in counts.items() if count <= NAMED_AT_MOST]
    names: dict[int, list[str]] = defaultdict(list)
    for row in rows.filter(visible, **{f"{order}__in": few}).select_related(one).order_by(f"{one}_id"):
        named = getattr(row, one)
        names[getattr(row, order)].append(named.get_full_name() if isinstance(named, User) else str(named))
    return {pk: (count, names[pk]) for pk, count in counts.items()}


def _rules(model: Model, keys: list[int]) -> dict[int, str]:
    column = "subscription" if model is Subscription else "receiver"
    rows = AttributeRule.objects.filter(**{f"{column}__in": keys}).select_related("attribute").order_by("pk")
    rules: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        words = pgettext("attribute, comparison, values", "%(attribute)s %(operator)s %(values)s")
        values = _joined([*row.values[:NAMED_AT_MOST], *(["…"] if len(row.values) > NAMED_AT_MOST else [])])
        owner = row.subscription_id if model is Subscription else row.receiver_id
        if owner is not None:
            rules[owner].append(
                words % {"attribute": row.attribute, "operator": row.get_operator_display(), "values": values}
            )
    return {pk: _joined(found) for pk, found in rules.items()}


def _joined(words: list[str]) -> str:
    return pgettext("between reasons", ", ").join(words)
