"""Reads and sets the values of user attributes, with audit entries.

What an administrator may see and change of whom is decided by the callers (accounts.users.scopes).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.audit import bulk, services
from accounts.models import Attribute, AttributeValue, AuditEntry, User, fold_value

# So many people are locked and written at a time.
STEP = 1000
# So many people get a value in one request; a file, which is read in the background, sets it for more.
SET_AT_MOST = 10_000


class ValueTakenError(Exception):
    """Of an attribute whose values belong to one person each, somebody else has one already.

    `taken`: by the person who was to get it, the value and who has it.
    """

    def __init__(self, taken: Mapping[int, tuple[str, int]]) -> None:
        super().__init__(f"{len(taken)} values are taken")
        self.taken = dict(taken)


# --- Reading ---------------------------------------------------------------------------------------------------------


def values_of(*, attribute: Attribute, users: QuerySet[User] | Sequence[int] | None = None) -> dict[int, list[str]]:
    """By the person's key: the values in their order. Who has none is not in it.

    `users`: a queryset or keys; None for everybody. One query, for everybody one walk over an index: about 0.4 s and
    40 MB for 100,000 people.
    """
    rows = AttributeValue.objects.of(attribute)
    if users is not None:
        rows = rows.filter(user__in=users.order_by() if isinstance(users, QuerySet) else users)
    found: dict[int, list[str]] = {}
    for user_id, value in rows.order_by("position").values_list("user_id", "value").iterator(chunk_size=5000):
        found.setdefault(user_id, []).append(value)
    return found


def bi_login_ids_of(user_ids: Collection[int]) -> dict[int, str]:
    """As whom each of these people enters the BI, by the attribute that is marked for it. One query."""
    rows = AttributeValue.objects.filter(user__in=user_ids, attribute__is_bi_login_id=True).order_by("-pk")
    return dict(rows.values_list("user_id", "value"))


def page_of(*, user_id: int) -> list[tuple[Attribute, list[str]]]:
    """Every attribute with a person's values, in the order in which they are shown. Two queries."""
    values: dict[int, list[str]] = defaultdict(list)
    rows = AttributeValue.objects.filter(user=user_id).order_by("position")
    for attribute_id, value in rows.values_list("attribute_id", "value"):
        values[attribute_id].append(value)
    return [(attribute, values[attribute.pk]) for attribute in Attribute.objects.by_name()]


def people_with(*, attribute: Attribute, values: Iterable[str]) -> QuerySet[User]:
    """Who has at least one of `values`, in whatever letters: of one value "is", of several values "contains".

    To be combined with other conditions on people, or counted; the condition is one look-up in an index.
    """
    rows = AttributeValue.objects.of(attribute).among(values)
    return User.objects.filter(pk__in=rows.order_by().values("user_id"))


def holders_of(*, attribute: Attribute, values: Iterable[str]) -> dict[str, set[int]]:
    """By the folded value (accounts.models.fold_value): the keys of those who have it. One query.

    For finding people by an employee number, a thousand at a time.
    """
    found: dict[str, set[int]] = defaultdict(set)
    rows = AttributeValue.objects.of(attribute).among(values)
    for folded, user_id in rows.values_list("folded", "user_id"):
        found[folded].add(user_id)
    return dict(found)


# --- Writing ---------------------------------------------------------------------------------------------------------


def set_values(*, attribute: Attribute, values: Mapping[int, Sequence[str]]) -> int:
    """Give people, by their keys, exactly these values; an empty list takes them away. How many people changed.

    All in one transaction; people who have them already are not written, and those who are gone are left out. Each
    change stands in the audit trail. Raises ValidationError for a value that the attribute does not take, and
    ValueTakenError; nothing is written then.
    """
    wanted = {user_id: attribute.cleaned(texts) for user_id, texts in values.items()}
    keys = sorted(wanted)
    try:
        with transaction.atomic():
            steps = [keys[start : start + STEP] for start in range(0, len(keys), STEP)]
            return sum(_set_step(attribute, {key: wanted[key] for key in step}) for step in steps)
    except IntegrityError:
        # Somebody else has just saved the same value. Asked again, the check sees it and says whose it is.
        _check_taken(attribute, wanted)
        raise


def _set_step(attribute: Attribute, wanted: dict[int, list[str]]) -> int:
    """Five queries, and those of the audit trail."""
    people = User.objects.select_for_update().filter(pk__in=list(wanted)).order_by("pk")
    here = list(people.values_list("pk", flat=True))
    before = values_of(attribute=attribute, users=here)
    changed = {pk: wanted[pk] for pk in here if wanted[pk] != before.get(pk, [])}
    if not changed:
        return 0
    _check_taken(attribute, changed)
    AttributeValue.objects.of(attribute).filter(user__in=list(changed)).delete()
    AttributeValue.objects.bulk_create(
        (
            AttributeValue(
                user_id=pk,
                attribute=attribute,
                position=position,
                value=value,
                folded=fold_value(value),
                is_unique=attribute.is_unique,
            )
            for pk, texts in changed.items()
            for position, value in enumerate(texts)
        ),
        batch_size=500,
    )
    changes = {pk: [change_of(attribute, before.get(pk, []), texts)] for pk, texts in changed.items()}
    bulk.record_people(changes, AuditEntry.Action.CHANGED)
    return len(changed)


def change_of(attribute: Attribute, before: Sequence[str], after: Sequence[str]) -> services.Change:
    """How the audit trail names it."""
    return [attribute.name, shown(before) or None, shown(after) or None]


def shown(values: Sequence[str]) -> str:
    """Several values in one text, as forms and sheets take them."""
    return "; ".join(values)


def _check_taken(attribute: Attribute, changed: Mapping[int, Sequence[str]]) -> None:
    """Whether somebody who keeps theirs, or another one of `changed`, has a value that belongs to one person."""
    if not attribute.is_unique:
        return
    wishes = [(pk, value) for pk, texts in changed.items() for value in texts]
    holders = holders_of(attribute=attribute, values=(value for _pk, value in wishes))
    taken, seen = {}, {folded: next(iter(pks - set(changed)), None) for folded, pks in holders.items()}
    for pk, value in wishes:
        folded = fold_value(value)
        holder = seen.get(folded)
        if holder is not None and holder != pk:
            taken[pk] = (value, holder)
        seen[folded] = pk
    if taken:
        raise ValueTakenError(taken)


# --- Definitions -----------------------------------------------------------------------------------------------------


def check_definition(*, attribute: Attribute) -> None:
    """Whether the values that people have fit a definition that is about to be saved.

    Raises ValidationError with a sentence for each field in the way. A new one always fits.
    """
    stored = Attribute.objects.filter(pk=attribute.pk).first()
    if stored is None:
        return
    rows = AttributeValue.objects.of(attribute)
    problems: dict[str, str] = {}
    if stored.kind != attribute.kind and rows.exists():
        problems["kind"] = _("People have values of this kind. Make another attribute instead.")
    if stored.is_many_valued != attribute.is_many_valued and rows.exclude(position=0).exists():
        problems["is_many_valued"] = _("Some people have several values.")
    if attribute.is_unique and not stored.is_unique:
        repeated = rows.order_by().values("folded").annotate(times=Count("pk")).filter(times__gt=1).count()
        if repeated:
            problems["is_unique"] = _said(_repeated(repeated), repeated)
    dropped = dropped_choices(stored, attribute)
    users = rows.among(dropped).values("user").distinct().count() if dropped else 0
    if users:
        problems["choices"] = _said(_still_chosen(users), users)
    if problems:
        raise ValidationError(problems)


def save_definition(*, attribute: Attribute) -> None:
    """Save a definition that was checked, and what its values carry of it."""
    with transaction.atomic():
        attribute.save()
        values = AttributeValue.objects.of(attribute)
        values.exclude(is_unique=attribute.is_unique).update(is_unique=attribute.is_unique)


def dropped_choices(stored: Attribute, attribute: Attribute) -> set[str]:
    """The choices, folded, that a definition about to be saved has no more; none where its kind changes."""
    if Attribute.Kind.CHOICE not in {stored.kind, attribute.kind} or stored.kind != attribute.kind:
        return set()
    return {fold_value(one) for one in stored.choices} - {fold_value(one) for one in attribute.choices}


def _said(sentence: str, count: int) -> str:
    return sentence % {"count": count}


def _repeated(count: int) -> str:
    return ngettext("%(count)d value belongs to several people.", "%(count)d values belong to several people.", count)


def _still_chosen(count: int) -> str:
    return ngettext(
        "%(count)d person has a choice that you have removed. Change their values first.",
        "%(count)d people have a choice that you have removed. Change their values first.",
        count,
    )
