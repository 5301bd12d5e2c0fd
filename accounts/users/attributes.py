"""User attributes: their values with audit entries, what rests on a definition, and their form fields.

What an administrator may see and change of whom is decided by the callers (accounts.users.roles).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps as installed_apps
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, IntegrityError, models, transaction
from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.audit import services
from accounts.models import Attribute, AttributeValue, AuditEntry, DirectoryPolicy, User, fold_value
from accounts.users.bi_identity import is_entered_by_login_id
from accounts.users.roles import people_visible_to, sees_all
from integrations.hooks import Hook
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.models.fields import Person


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
    try:
        return _write_values(attribute, wanted)
    except IntegrityError:
        # Somebody else has just saved the same value. Asked again, the check sees it and says whose it is.
        _check_taken(attribute, wanted)
        raise


@transaction.atomic
def _write_values(attribute: Attribute, wanted: dict[int, list[str]]) -> int:
    """Five queries, and those of the audit trail."""
    people = User.objects.select_for_update().filter(pk__in=list(wanted)).order_by("pk")
    here = list(people.values_list("pk", flat=True))
    before = values_of(attribute=attribute, users=here)
    changed = {pk: wanted[pk] for pk in here if wanted[pk] != before.get(pk, [])}
    if not changed:
        return 0
    _check_taken(attribute, changed)
    AttributeValue.objects.of(attribute).filter(user__in=list(changed)).delete()
    same: dict[str, Any] = {"attribute": attribute, "is_unique": attribute.is_unique}
    rows = [
        AttributeValue(user_id=pk, position=position, value=value, folded=fold_value(value), **same)
        for pk, texts in changed.items()
        for position, value in enumerate(texts)
    ]
    AttributeValue.objects.bulk_create(rows, batch_size=500)
    changes = {
        pk: [[attribute.name, shown(before.get(pk, [])) or None, shown(texts) or None]] for pk, texts in changed.items()
    }
    services.record_people(changes, AuditEntry.Action.CHANGED)
    return len(changed)


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
    """Check that a definition about to be saved fits the values that people have, and leaves what rests on it.

    Raises ValidationError with a sentence for each field in the way. A new one always fits.
    """
    stored = Attribute.objects.filter(pk=attribute.pk).first()
    if stored is not None and (
        problems := _find_problems_of_values(stored, attribute) or _find_uses(stored, attribute)
    ):
        raise ValidationError(problems)


def _find_problems_of_values(stored: Attribute, attribute: Attribute) -> dict[str, str]:
    rows = AttributeValue.objects.of(attribute)
    problems: dict[str, str] = {}
    if stored.kind != attribute.kind and rows.exists():
        problems["kind"] = _("People have values of this kind. Make another attribute instead.")
    if stored.is_many_valued != attribute.is_many_valued and rows.exclude(position=0).exists():
        problems["is_many_valued"] = _("Some people have several values.")
    if attribute.is_unique and not stored.is_unique:
        repeated = rows.order_by().values("folded").annotate(times=Count("pk")).filter(times__gt=1).count()
        if repeated:
            sentence = ngettext(
                "%(count)d value belongs to several people.", "%(count)d values belong to several people.", repeated
            )
            problems["is_unique"] = sentence % {"count": repeated}
    dropped = _find_dropped_choices(stored, attribute)
    users = rows.among(dropped).values("user").distinct().count() if dropped else 0
    if users:
        sentence = ngettext(
            "%(count)d person has a choice that you have removed. Change their values first.",
            "%(count)d people have a choice that you have removed. Change their values first.",
            users,
        )
        problems["choices"] = sentence % {"count": users}
    return problems


def _find_uses(stored: Attribute, attribute: Attribute) -> dict[str, str]:
    """Find what rests on what `stored` is and `attribute` would not be any more."""
    problems: dict[str, str] = {}
    if stored.is_employee_number and not attribute.is_employee_number:
        policies = DirectoryPolicy.objects.filter(number_attribute=attribute).select_related("corp")
        names = _(", ").join(policy.corp.name for policy in policies[:NAMED_AT_MOST])
        if names:
            said = _("The directory finds people by it, in %(companies)s: choose another one in the directory policy.")
            problems["is_employee_number"] = said % {"companies": names}
    if stored.is_bi_login_id and not attribute.is_bi_login_id and is_entered_by_login_id():
        problems["is_bi_login_id"] = _(
            "People enter the BI by it. Switch the BI connection off before, and on again once another attribute is "
            "marked."
        )
    rests = _("This rests on it, and has to be changed before: %(rows)s.")
    # What a rule compares means something else for values of another kind, or where there are several.
    changed = [name for name in ("kind", "is_many_valued") if getattr(stored, name) != getattr(attribute, name)]
    if changed and (rows := [str(row) for row in kept_by(stored)]):
        problems |= dict.fromkeys(changed, rests % {"rows": "; ".join(rows[:NAMED_AT_MOST])})
    # Nobody could have the value any more with which a rule compares.
    dropped = _find_dropped_choices(stored, attribute)
    if dropped and (uses := values_dropped.joined(stored, dropped)):
        problems["choices"] = rests % {"rows": "; ".join(uses[:NAMED_AT_MOST])}
    return problems


def _find_dropped_choices(stored: Attribute, attribute: Attribute) -> set[str]:
    """Find the choices, folded, that a definition about to be saved has no more; none where its kind changes."""
    if not (stored.kind == attribute.kind == Attribute.Kind.CHOICE):
        return set()
    return {fold_value(one) for one in stored.choices} - {fold_value(one) for one in attribute.choices}


def save_definition(*, attribute: Attribute) -> None:
    """Save a definition that was checked, and what its values carry of it."""
    with transaction.atomic():
        attribute.save()
        values = AttributeValue.objects.of(attribute)
        values.exclude(is_unique=attribute.is_unique).update(is_unique=attribute.is_unique)


# Named of each kind, to be put right before; the rest follows then.
NAMED_AT_MOST = 20

# Asked while an attribute is saved without these folded values: in words, whatever compares people's values with one of
# them. Quick, and writes nothing.
values_dropped: Hook[[Attribute, Collection[str]], list[str]] = Hook()


def taken_away_with(attribute: Attribute) -> list[str]:
    """What deleting `attribute` takes away."""
    count = AttributeValue.objects.of(attribute).values("user").distinct().count()
    sentence = ngettext("The values of %(count)d person.", "The values of %(count)d people.", count)
    return [sentence % {"count": count}]


def kept_by(attribute: Attribute) -> list[models.Model]:
    """The rows that rest on it and so forbid deleting it: of this app and of higher ones, wherever a key says PROTECT.

    Found by foreign keys, so that every new reference to an attribute is guarded without further code.
    """
    # Also the hidden ones: most keys to an attribute have no reverse accessor.
    pointing: list[Any] = [one for one in Attribute._meta.get_fields(include_hidden=True) if one.one_to_many]
    rows: list[models.Model] = []
    for relation in (one for one in pointing if one.on_delete is models.PROTECT):
        found = relation.related_model._default_manager.filter(**{relation.field.name: attribute.pk})
        rows += found.order_by("pk")[:NAMED_AT_MOST]
    return rows


# --- When people have the two attributes: from the first enabling of a WeCom company on, for good ---

_REMEMBERED = "guanwecom.wecom_attributes"


def have_appeared(request: HttpRequest) -> bool:
    """One query for each request, however many parts of the page ask."""
    if _REMEMBERED not in request.META:
        request.META[_REMEMBERED] = Corp.objects.ever_enabled().exists()
    return bool(request.META[_REMEMBERED])


# --- The user attribute that is there from the start: the person's loginId in the BI ---

KEY, NAME = "bi_login_id", "BI loginId"


def ensure_bi_login_id(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Create it after migrations where no attribute is marked as the loginId; another one that is stays the one."""
    try:
        attributes = apps.get_model("accounts", "Attribute")._base_manager.using(using)
    except LookupError:  # migrated back to before there were attributes
        return
    if not attributes.filter(Q(is_bi_login_id=True) | Q(key=KEY) | Q(name=NAME)).exists():
        attributes.create(key=KEY, name=NAME, is_unique=True, is_bi_login_id=True, position=10)


PREFIX = "attribute_"


class ValuesField(forms.CharField):
    """The values of one attribute: a line for each where there may be several, a list where there are choices."""

    def __init__(self, attribute: Attribute, **kwargs: Any) -> None:
        self.attribute = attribute
        kwargs |= {"label": attribute.name, "help_text": attribute.description, "widget": _widget(attribute)}
        super().__init__(required=False, strip=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """As the widget shows it; what somebody typed comes back as they typed it."""
        if isinstance(value, str):
            return value
        is_list = isinstance(self.widget, forms.SelectMultiple)
        return list(value or ()) if is_list else "\n".join(value or ())

    def to_python(self, value: Any) -> Any:
        texts = [value or ""] if value is None or isinstance(value, str) else list(value)
        return self.attribute.cleaned(part for text in texts for part in self.attribute.parts(str(text)))

    def run_validators(self, value: Any) -> None:
        """Attribute.cleaned has checked it."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        if self.disabled:
            return False
        try:
            return bool(list(initial or ()) != self.to_python(data))
        except ValidationError:
            return True


def _widget(attribute: Attribute) -> forms.Widget:
    if attribute.kind == Attribute.Kind.CHOICE:
        choices = [(one, one) for one in attribute.choices]
        if attribute.is_many_valued:
            return forms.CheckboxSelectMultiple(choices=choices)
        return forms.Select(choices=[("", "---------"), *choices])
    if attribute.is_many_valued:
        return forms.Textarea({"rows": 3, "class": "vLargeTextField"})
    return forms.TextInput({"class": "vTextField"})


def field_name(attribute: Attribute) -> str:
    return f"{PREFIX}{attribute.key}"


def may_set(person: Person, attribute: Attribute) -> bool:
    """Who enters the BI as whom is for administrators of all companies: the BI knows people of every company."""
    return sees_all(person) or not attribute.is_bi_login_id


def fields_of(person: User, *, editor: Person) -> dict[str, ValuesField]:
    """A field for each attribute with the person's values."""
    return {
        field_name(attribute): ValuesField(attribute, initial=values, disabled=not may_set(editor, attribute))
        for attribute, values in page_of(user_id=person.pk)
    }


def taken_sentence(attribute: Attribute, user_id: int | None, values: Sequence[str], *, reader: Person) -> str:
    """Why a person cannot get `values`: somebody else has one. Empty where nobody has. Names only whom one may see."""
    found = holders_of(attribute=attribute, values=values) if attribute.is_unique else {}
    for value in values:
        others = found.get(fold_value(value), set()) - {user_id}
        if others:
            return sentence_about(value, others.pop(), reader=reader)
    return ""


def sentence_about(value: str, holder_id: int, *, reader: Person) -> str:
    """Who has `value` already; without the name where `reader` may not see the person."""
    holder = people_visible_to(reader).filter(pk=holder_id).first()
    if holder is None:
        return _("“%(value)s” belongs to somebody else already.") % {"value": value}
    return _("“%(value)s” belongs to %(person)s already.") % {"value": value, "person": holder}
