"""Two administrators on one person's page: who saves second is told which attributes others have set meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _

from accounts.attribute_fields import ValuesField, field_name
from accounts.attribute_values import page_of, shown
from accounts.models import Attribute, User
from integrations.seen_forms import SeenField, opened, sealed, who_saved

if TYPE_CHECKING:
    from collections.abc import Mapping

SEEN = "attributes_seen"
_Values = dict[str, list[str]]


def seen_field(person: User, values: _Values) -> SeenField:
    """Carries `values`, by the attribute's key, from the page's opening to its saving."""
    return SeenField(required=False, widget=forms.HiddenInput, initial=sealed(person, values))


def tell_changes(form: Any) -> None:
    """Add an error at each attribute that somebody else has set since the page was opened, to another value than the
    form's. What was left alone shows the new value then.

    `form`: of a person, cleaned, with `attribute_values()` and the field SEEN. Locks the person until the end of the
    transaction in which the admin saves.
    """
    if SEEN not in form.fields:
        return
    person: User = form.instance
    list(User.objects.select_for_update().filter(pk=person.pk).values_list("pk", flat=True))
    saved = {attribute.key: values for attribute, values in page_of(user_id=person.pk)}
    seen = opened(person, form.cleaned_data.get(SEEN) or "")
    if seen is None:
        form.add_error(None, _("This page was open for too long to tell what others changed. Check and save again."))
        form.data = _renewed(form, saved, [])
        return
    entered = form.attribute_values()
    changed = [one for one, values in entered if saved[one.key] not in (seen.get(one.key, []), values)]
    if not changed:
        return
    untouched = [one for one, values in entered if one in changed and values == seen.get(one.key, [])]
    form.data = _renewed(form, saved, untouched)
    who = who_saved(person, {one.name for one in changed})
    form.add_error(None, _("%(who)s Nothing of yours was saved. Check, then save again.") % {"who": who})
    for one in changed:
        said = _("Saved by somebody else meanwhile: %(value)s") % {"value": f"“{shown(saved[one.key])}”"}
        form.add_error(field_name(one), said)


def _renewed(form: Any, saved: Mapping[str, list[str]], untouched: list[Attribute]) -> Any:
    """What was sent, as if the page had been opened now."""
    sent: Any = form.data.copy()  # a QueryDict, the data of a request
    sent[form.add_prefix(SEEN)] = sealed(form.instance, dict(saved))
    for attribute in untouched:
        name = field_name(attribute)
        field: ValuesField = form.fields[name]
        value = field.prepare_value(saved[attribute.key])
        if isinstance(value, list):
            sent.setlist(form.add_prefix(name), value)
        else:
            sent[form.add_prefix(name)] = value
    return sent
