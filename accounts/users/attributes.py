"""User attributes: reading and writing values, checking changed definitions, and form fields.

Callers check which people and attributes an administrator may see and change (accounts.users.roles).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
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
from accounts.users.bi_identity import LOGIN_ID
from accounts.users.roles import find_changeable_people, find_visible_people, sees_all
from integrations import bi
from integrations.core.admin_pages import describe_saving
from integrations.hooks import Hook
from integrations.models import Corp

if TYPE_CHECKING:
    from django.http import HttpRequest

    from integrations.models.fields import Person


class ValueTakenError(Exception):
    """A value of a unique attribute belongs to somebody else already. `taken` maps the key of each person who was to
    get a value to the value and the key of its holder."""

    def __init__(self, taken: Mapping[int, tuple[str, int]]) -> None:
        super().__init__(f"{len(taken)} values are taken")
        self.taken = dict(taken)


# --- Reading ---------------------------------------------------------------------------------------------------------


def find_values(*, attribute: Attribute, users: QuerySet[User] | Sequence[int] | None = None) -> dict[int, list[str]]:
    """Map people's keys to their values, in order. People without values are left out. `users`: a queryset or keys;
    None for everybody, which takes about 0.4 s and 40 MB for 100,000 people. One query."""
    rows = AttributeValue.objects.of(attribute)
    if users is not None:
        rows = rows.filter(user__in=users.order_by() if isinstance(users, QuerySet) else users)
    values_by_user: dict[int, list[str]] = {}
    for user_id, value in rows.order_by("position").values_list("user_id", "value").iterator(chunk_size=5000):
        values_by_user.setdefault(user_id, []).append(value)
    return values_by_user


def list_attributes_with_values(*, user_id: int) -> list[tuple[Attribute, list[str]]]:
    """Return every attribute with a person's values, in display order. Two queries."""
    values: dict[int, list[str]] = defaultdict(list)
    rows = AttributeValue.objects.filter(user=user_id).order_by("position")
    for attribute_id, value in rows.values_list("attribute_id", "value"):
        values[attribute_id].append(value)
    return [(attribute, values[attribute.pk]) for attribute in Attribute.objects.by_name()]


def find_holders(*, attribute: Attribute, values: Iterable[str]) -> dict[str, set[int]]:
    """Map folded values (accounts.models.fold_value) to the keys of the people who have them. One query; pass at most a
    thousand values."""
    holders: dict[str, set[int]] = defaultdict(set)
    rows = AttributeValue.objects.of(attribute).among(values)
    for folded, user_id in rows.values_list("folded", "user_id"):
        holders[folded].add(user_id)
    return dict(holders)


# --- Writing ---------------------------------------------------------------------------------------------------------


def set_values(*, attribute: Attribute, values: Mapping[int, Sequence[str]]) -> int:
    """Set the values of people, by their keys; an empty list removes them. Returns how many people changed.

    One transaction, with audit entries. People who already have these values are not written; keys of deleted people
    are skipped. Raises ValidationError for a value that the attribute does not accept, and ValueTakenError; then
    nothing is written.
    """
    wanted = {user_id: attribute.clean_values(texts) for user_id, texts in values.items()}
    try:
        return _write_values(attribute, wanted)
    except IntegrityError:
        # Somebody else has just saved the same value: check again to name the holder.
        _check_taken(attribute, wanted)
        raise


@transaction.atomic
def _write_values(attribute: Attribute, wanted: dict[int, list[str]]) -> int:
    """Write the values. Five queries, and those of the audit trail."""
    people = User.objects.select_for_update().filter(pk__in=list(wanted)).order_by("pk")
    existing = list(people.values_list("pk", flat=True))
    before = find_values(attribute=attribute, users=existing)
    changed = {pk: wanted[pk] for pk in existing if wanted[pk] != before.get(pk, [])}
    if not changed:
        return 0
    _check_taken(attribute, changed)
    AttributeValue.objects.of(attribute).filter(user__in=list(changed)).delete()
    common: dict[str, Any] = {"attribute": attribute, "is_unique": attribute.is_unique}
    rows = [
        AttributeValue(user_id=pk, position=position, value=value, folded=fold_value(value), **common)
        for pk, texts in changed.items()
        for position, value in enumerate(texts)
    ]
    AttributeValue.objects.bulk_create(rows, batch_size=500)
    old = {pk: join_values(texts) for pk, texts in before.items()}
    changes = {pk: [[attribute.name, old.get(pk), join_values(texts) or None]] for pk, texts in changed.items()}
    services.record_people(changes, AuditEntry.Action.CHANGED)
    return len(changed)


# The keys of a person and an attribute.
CellKey = tuple[int, int]


class CellsRefusedError(Exception):
    """Cells of “Attributes as a grid” cannot be saved, so nothing was written. `problems`: a sentence for each cell."""

    def __init__(self, problems: Mapping[CellKey, str]) -> None:
        super().__init__(f"{len(problems)} cells cannot be saved")
        self.problems = dict(problems)


@transaction.atomic
def save_cells(*, cells: Mapping[CellKey, tuple[str, str]], editor: User, since: datetime) -> tuple[int, int]:
    """Set values of many people and attributes. `cells`: for each the text that the page showed, and the typed text.

    Cells of people whom `editor` may not change, and of attributes that `editor` may not set, are skipped. `since`:
    when the page was opened. Returns the numbers of changed cells and people. Raises CellsRefusedError, also if
    somebody else has changed a cell since the page was opened.
    """
    user_ids = {user_id for user_id, _attribute_id in cells}
    keys = list(find_changeable_people(editor).filter(pk__in=user_ids).order_by("pk").values_list("pk", flat=True))
    people = {person.pk: person for person in User.objects.select_for_update().filter(pk__in=keys).order_by("pk")}
    problems: dict[CellKey, str] = {}
    changed: set[CellKey] = set()
    for attribute in filter(partial(may_set, editor), Attribute.objects.by_name()):
        texts = {
            pk: pair for (pk, attribute_id), pair in cells.items() if attribute_id == attribute.pk and pk in people
        }
        stored = find_values(attribute=attribute, users=list(texts))
        values: dict[int, list[str]] = {}
        for pk, (shown, typed) in texts.items():
            present = join_values(stored.get(pk, []))
            try:
                values[pk] = attribute.clean_values(attribute.split_values(typed))
            except ValidationError as error:
                problems[pk, attribute.pk] = " ".join(error.messages)
                continue
            if present not in {shown, join_values(values[pk])}:
                first = describe_saving(services.find_last_save([people[pk]], since))
                second = _("Now it is “%(value)s”. Save again to replace it by yours.")
                problems[pk, attribute.pk] = f"{first} {second % {'value': present or '—'}}"
            elif present != join_values(values[pk]):
                changed.add((pk, attribute.pk))
        try:
            if not problems:
                set_values(attribute=attribute, values=values)
        except ValueTakenError as error:
            for pk, (value, holder_id) in error.taken.items():
                problems[pk, attribute.pk] = describe_holder(value, holder_id, reader=editor)
    if problems:
        raise CellsRefusedError(problems)
    return len(changed), len({pk for pk, _attribute_id in changed})


def join_values(values: Sequence[str]) -> str:
    """Join several values into one text, as forms and sheets show it."""
    return "; ".join(values)


def _check_taken(attribute: Attribute, changed: Mapping[int, Sequence[str]]) -> None:
    """Raise ValueTakenError if a unique value belongs to a person outside `changed`, or to two people in `changed`."""
    if not attribute.is_unique:
        return
    pairs = [(pk, value) for pk, texts in changed.items() for value in texts]
    stored = find_holders(attribute=attribute, values=(value for _pk, value in pairs))
    taken, holders = {}, {folded: next(iter(pks - set(changed)), None) for folded, pks in stored.items()}
    for pk, value in pairs:
        folded = fold_value(value)
        holder = holders.get(folded)
        if holder is not None and holder != pk:
            taken[pk] = (value, holder)
        holders[folded] = pk
    if taken:
        raise ValueTakenError(taken)


# --- Definitions -----------------------------------------------------------------------------------------------------


def check_definition(*, attribute: Attribute) -> None:
    """Check that a changed definition fits the values that people have and the rows that use the attribute. Raises
    ValidationError with a sentence for each field that must not change."""
    stored = Attribute.objects.filter(pk=attribute.pk).first()
    if stored is not None and (problems := _find_value_problems(stored, attribute) or _find_uses(stored, attribute)):
        raise ValidationError(problems)


def _find_value_problems(stored: Attribute, attribute: Attribute) -> dict[str, str]:
    rows = AttributeValue.objects.of(attribute)
    problems: dict[str, str] = {}
    if stored.kind != attribute.kind and rows.exists():
        problems["kind"] = _("People have values of this kind. Create another attribute instead.")
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
    """Find rows that use properties of `stored` which `attribute` would lose."""
    problems: dict[str, str] = {}
    if stored.is_employee_number and not attribute.is_employee_number:
        policies = DirectoryPolicy.objects.filter(number_attribute=attribute).select_related("corp")
        names = _(", ").join(policy.corp.name for policy in policies[:NAMED_AT_MOST])
        if names:
            sentence = _(
                "The directory finds people by it, in %(companies)s: choose another one in the directory policy."
            )
            problems["is_employee_number"] = sentence % {"companies": names}
    loses_login_id = stored.is_bi_login_id and not attribute.is_bi_login_id
    if loses_login_id and bi.is_open() and bi.load_connection().external_id_source == LOGIN_ID:
        problems["is_bi_login_id"] = _(
            "People enter the BI by it. Switch the BI connection off first, and on again once another attribute is "
            "marked."
        )
    sentence = _("These depend on it and must be changed first: %(rows)s.")
    # A rule's comparison changes its meaning if values get another kind, or if people may have several.
    changed = [name for name in ("kind", "is_many_valued") if getattr(stored, name) != getattr(attribute, name)]
    if changed and (rows := [str(row) for row in find_protecting_rows(stored)]):
        problems |= dict.fromkeys(changed, sentence % {"rows": "; ".join(rows[:NAMED_AT_MOST])})
    # A rule that compares with a removed choice would match nobody.
    dropped = _find_dropped_choices(stored, attribute)
    if dropped and (uses := values_dropped.joined(stored, dropped)):
        problems["choices"] = sentence % {"rows": "; ".join(uses[:NAMED_AT_MOST])}
    return problems


def _find_dropped_choices(stored: Attribute, attribute: Attribute) -> set[str]:
    """Find the choices, folded, that the new definition removes; none if the kind changes."""
    if not (stored.kind == attribute.kind == Attribute.Kind.CHOICE):
        return set()
    return {fold_value(choice) for choice in stored.choices} - {fold_value(choice) for choice in attribute.choices}


# Number of obstacles of each kind that a sentence names.
NAMED_AT_MOST = 20

# Called before an attribute is saved without some of its choices (folded). Returns descriptions of the rules that
# compare with one of them. Must be quick and write nothing.
values_dropped: Hook[[Attribute, Collection[str]], list[str]] = Hook()


def find_protecting_rows(attribute: Attribute) -> list[models.Model]:
    """Return the rows, of this app and of higher ones, that refer to the attribute by a foreign key with PROTECT and so
    prevent deleting it. Foreign keys added later are included."""
    # Include hidden relations: most foreign keys to an attribute have no reverse accessor.
    relations: list[Any] = [one for one in Attribute._meta.get_fields(include_hidden=True) if one.one_to_many]
    rows: list[models.Model] = []
    for relation in (one for one in relations if one.on_delete is models.PROTECT):
        referring = relation.related_model._default_manager.filter(**{relation.field.name: attribute.pk})
        rows += referring.order_by("pk")[:NAMED_AT_MOST]
    return rows


# --- The two WeCom attributes (company and userid, in WeComAccount): shown once a WeCom company was enabled ---

_CACHE_KEY = "guanwecom.wecom_attributes"


def has_wecom_attributes(request: HttpRequest) -> bool:
    """Return whether people have the two WeCom attributes: whether a WeCom company was ever enabled. One query, cached
    on the request."""
    if _CACHE_KEY not in request.META:
        request.META[_CACHE_KEY] = Corp.objects.ever_enabled().exists()
    return bool(request.META[_CACHE_KEY])


# --- The user attribute that exists from the start: the person's loginId in the BI ---

BI_LOGIN_ID_KEY, BI_LOGIN_ID_NAME = "bi_login_id", "BI loginId"


def ensure_bi_login_id(*, apps: Any = installed_apps, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Receive post_migrate: create the attribute unless another one is marked as the loginId."""
    try:
        attributes = apps.get_model("accounts", "Attribute")._base_manager.using(using)
    except LookupError:  # migrated back to a state without the model
        return
    key, name = BI_LOGIN_ID_KEY, BI_LOGIN_ID_NAME
    if not attributes.filter(Q(is_bi_login_id=True) | Q(key=key) | Q(name=name)).exists():
        attributes.create(key=key, name=name, is_unique=True, is_bi_login_id=True, position=10)


class ValuesField(forms.CharField):
    """Field for a person's values of one attribute: a text area with a value in each line, a list of choices, or one
    line."""

    def __init__(self, attribute: Attribute, **kwargs: Any) -> None:
        self.attribute = attribute
        choices = [(one, one) for one in attribute.choices]
        widget: forms.Widget
        if attribute.kind == Attribute.Kind.CHOICE and attribute.is_many_valued:
            widget = forms.CheckboxSelectMultiple(choices=choices)
        elif attribute.kind == Attribute.Kind.CHOICE:
            widget = forms.Select(choices=[("", "---------"), *choices])
        elif attribute.is_many_valued:
            widget = forms.Textarea({"rows": 3, "class": "vLargeTextField"})
        else:
            widget = forms.TextInput({"class": "vTextField"})
        kwargs |= {"label": attribute.name, "help_text": attribute.description, "widget": widget}
        super().__init__(required=False, strip=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the value as the widget shows it; text typed before an error is returned unchanged."""
        if isinstance(value, str):
            return value
        is_list = isinstance(self.widget, forms.SelectMultiple)
        return list(value or ()) if is_list else "\n".join(value or ())

    def to_python(self, value: Any) -> Any:
        texts = [value or ""] if value is None or isinstance(value, str) else list(value)
        return self.attribute.clean_values(part for text in texts for part in self.attribute.split_values(str(text)))

    def run_validators(self, value: Any) -> None:
        """Do nothing: Attribute.clean_values has validated the value."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        if self.disabled:
            return False
        try:
            return bool(list(initial or ()) != self.to_python(data))
        except ValidationError:
            return True


def make_field_name(attribute: Attribute) -> str:
    return f"attribute_{attribute.key}"


def may_set(person: Person, attribute: Attribute) -> bool:
    """Return whether `person` may set values of `attribute`. Only administrators of all companies may set the loginId
    of the BI, which could belong to a person of any company."""
    return sees_all(person) or not attribute.is_bi_login_id


def make_fields(person: User, *, editor: Person) -> dict[str, ValuesField]:
    """Make a form field for each attribute, with the person's values."""
    return {
        make_field_name(attribute): ValuesField(attribute, initial=values, disabled=not may_set(editor, attribute))
        for attribute, values in list_attributes_with_values(user_id=person.pk)
    }


def describe_holder(value: str, holder_id: int, *, reader: Person) -> str:
    """Name the holder of `value`, or say "somebody else" if `reader` may not see the person."""
    holder = find_visible_people(reader).filter(pk=holder_id).first()
    if holder is None:
        return _("“%(value)s” belongs to somebody else already.") % {"value": value}
    return _("“%(value)s” belongs to %(person)s already.") % {"value": value, "person": holder}
