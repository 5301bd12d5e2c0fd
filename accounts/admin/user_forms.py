"""Forms of the admin for people and attributes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.hashers import is_password_usable
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.authentication.forms import PasswordOnlySaveMixin
from accounts.importexport.sheets import RESERVED_TITLES, fold_header
from accounts.models import Attribute, User, WeComAccount, fold_userid, fold_value
from accounts.models.attributes import CHOICES_AT_MOST, SEPARATORS, VALUE_CHARACTERS
from accounts.users import attributes, bi_identity, companies, roles
from accounts.users.roles import find_people_with_changeable_rights, sees_all
from integrations.admin.base import TidyField
from integrations.core.admin_pages import AnyModelForm, VersionedForm, VersionedFormSet
from integrations.models import Corp


class UserCreationForm(auth_forms.AdminUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form for a new user, by default without a password, because most people sign in with WeCom."""

    class Meta:
        model = User
        fields = ("username", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["usable_password"].initial = "false"
        self.fields["usable_password"].label = _("Sign-in with a password")
        self.fields["usable_password"].help_text = _("Without a password the person signs in with WeCom only.")


class PasswordForm(PasswordOnlySaveMixin, auth_forms.AdminPasswordChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form for another person's password. Label and help text are translated for each request, unlike Django's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        if usable := self.fields.get("usable_password"):
            usable.label = _("Sign-in with a password")
            usable.help_text = render_to_string("admin/accounts/user/_usable_password.html")


class WeComAccountForm(AnyModelForm):
    class Meta:
        model = WeComAccount
        fields = ("corp", "userid", "is_primary")
        field_classes = {"userid": TidyField}
        help_texts = {
            "userid": _("The ID in WeCom's contacts: neither the personal WeChat ID nor the name shown in WeCom.")
        }

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude `is_primary`, which the formset checks: another row may give up being the primary account."""
        exclusions: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return exclusions | {"is_primary"}


class WeComAccountFormSet(VersionedFormSet):
    """Formset of a person's accounts. At most one receives messages, and no account may belong to somebody else."""

    # The admin sets it for each request.
    editor: User

    def add_fields(self, form: AnyModelForm, index: int | None) -> None:
        """Leave "receives messages" unticked for further accounts."""
        super().add_fields(form, index)
        if form.instance._state.adding and index != 0:
            form.initial["is_primary"] = False

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        remaining = [form for form in self.forms if self._is_kept(form)]
        if sum(form.cleaned_data["is_primary"] for form in remaining) > 1:
            raise ValidationError(_("Messages can go to one account only. Tick “receives messages” once."))
        if not sees_all(self.editor) and not any(form.cleaned_data["corp"] for form in remaining):
            message = _(
                "Choose a WeCom company for this person: otherwise you would not see them any more. To end sign-in "
                "with WeCom, empty the WeCom account."
            )
            raise ValidationError(message)
        seen: set[tuple[int, str]] = set()
        for form in remaining:
            # Use the instance: the cleaned data of rows that the editor may not change has keys in place of companies.
            corp, userid = form.instance.corp, fold_userid(form.instance.userid)
            if corp is None or not userid:
                continue
            if (corp.pk, userid) in seen:
                form.add_error("userid", _("This account is entered twice."))
            seen.add((corp.pk, userid))
            others = WeComAccount.objects.for_userid(userid).filter(corp=corp).exclude(user=self.instance.pk)
            if (holder := others.first()) is not None:
                # The editor sees the company, and thus its people: they may be named.
                sentence = _("In “%(corp)s” this account belongs to %(person)s already. Remove it there first.")
                form.add_error("userid", sentence % {"corp": corp, "person": holder.user})

    def save(self, commit: bool = True) -> Any:
        """Save the accounts. First make no other account primary, because the database allows only one."""
        chosen = next((form for form in self.forms if self._is_kept(form) and form.cleaned_data["is_primary"]), None)
        if commit and chosen is not None:
            others = WeComAccount.objects.filter(user=self.instance, is_primary=True).exclude(pk=chosen.instance.pk)
            others.update(is_primary=False)
        saved = super().save(commit=commit)
        if commit:
            companies.choose_primary_accounts([self.instance.pk])
        return saved

    def _is_kept(self, form: AnyModelForm) -> bool:
        if not form.is_valid() or form.cleaned_data.get(forms.formsets.DELETION_FIELD_NAME):
            return False
        return not form.instance._state.adding or form.has_changed()


def make_choice_form(data: Any, name: str, field: forms.Field) -> forms.Form:
    """Return a form with one field, for a bulk action."""
    form = forms.Form(data)
    form.fields[name] = field
    return form


# All fields that give rights. The fields that find_rights_fields leaves out are for superusers only.
RIGHTS_FIELDS = (
    *("is_staff", "is_superuser", "roles", "manages_all_corps", "managed_corps"),
    *("groups", "user_permissions"),
)


def find_rights_fields(editor: User, person: User | None) -> tuple[str, ...]:
    """Return the fields for rights that `editor` may change for `person`. Nobody can give rights that they lack."""
    if editor.is_superuser:
        return RIGHTS_FIELDS
    if person is None or not find_people_with_changeable_rights(editor).filter(pk=person.pk).exists():
        return ()
    return ("is_staff", "roles", *(["manages_all_corps"] if sees_all(editor) else []), "managed_corps")


class RolesField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Choice of roles."""

    def label_from_instance(self, obj: Group) -> str:
        return roles.label_group(obj.name)


class PasswordState(auth_forms.ReadOnlyPasswordHashWidget):
    """Widget that shows whether a password is set, in place of its hash."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        is_set = bool(value) and is_password_usable(value)
        context["summary"] = [{"label": gettext("A password is set.") if is_set else gettext("No password is set.")}]
        return context


class UserChangeForm(VersionedForm, auth_forms.UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Form of a person. Fields that the editor may not change are removed, so that values sent for them are ignored."""

    password = auth_forms.ReadOnlyPasswordHashField(label=capfirst(_("password")), widget=PasswordState)
    roles = RolesField(
        queryset=Group.objects.none(),
        required=False,
        label=capfirst(_("roles")),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What the person may do in the administration, for the companies chosen below."),
    )

    taken_over = forms.MultipleChoiceField(
        label=_("What the person owns"), required=False, widget=forms.CheckboxSelectMultiple
    )
    successor = forms.ModelChoiceField(
        label=_("Who takes it over"),
        queryset=User.objects.none(),
        required=False,
        help_text=_(
            "Tokens and channels then act with the rights of this person. Somebody who has left may know their secrets."
        ),
    )
    lets_stop = forms.BooleanField(label=_("Nobody takes it over, and it may stop"), required=False)

    # The admin sets it for each request.
    editor: User
    unversioned_fields = frozenset({"password"})
    edits_rows = True

    class Meta:
        model = User
        fields = "__all__"  # the admin limits them by its fieldsets
        field_classes = {"username": auth_forms.UsernameField}
        # Django's own help texts call the person a user.
        help_texts = {
            "is_active": _("Unticked, the person is disabled. There is no need to delete anybody."),
            "is_staff": _("The person may enter the administration. Their roles say what they may do there."),
            "is_superuser": _("The person has all permissions; none has to be given one by one."),
            "groups": _("The person has all permissions of these groups."),
            "user_permissions": _("Permissions given to this person directly."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if password := self.fields.get("password"):
            password.help_text = _("With a password the person can sign in without WeCom, too.")
        allowed = find_rights_fields(self.editor, self.instance if self.instance.pk else None)
        for name in RIGHTS_FIELDS:
            if name not in allowed:
                self.fields.pop(name, None)
        fields: dict[str, Any] = self.fields
        for name, groups in self._find_group_choices().items():
            if name in fields:
                fields[name].queryset = groups
                self.initial[name] = list(groups.filter(user=self.instance))
        if "managed_corps" in fields:
            fields["managed_corps"].queryset = Corp.objects.visible_to(self.editor)
        # Offer the objects that the editor may hand over, and as successors the editor and people whose rights they may
        # change.
        self.owned = companies.ownership().find_owned(self.instance, self.editor) if self.instance.pk else []
        links = []
        for key, name, url, successor in self.owned:
            words = gettext("%(name)s → %(person)s, if nobody is chosen below") % {"name": name, "person": successor}
            links.append((key, format_html('<a href="{}">{}</a>', url, words if successor else name)))
        fields["taken_over"].choices, self.initial["taken_over"] = links, [key for key, _name in links]
        successors = find_people_with_changeable_rights(self.editor) | User.objects.filter(pk=self.editor.pk)
        fields["successor"].queryset = successors.filter(is_active=True, is_staff=True).exclude(pk=self.instance.pk)

    def _find_group_choices(self) -> dict[str, QuerySet[Group]]:
        """Return the choices of the two fields for groups: roles, and other groups."""
        others = Group.objects.exclude(name__in=list(roles.Role))
        return {"roles": roles.find_assignable_roles(self.editor), "groups": others}

    def read_values(self, row: Any) -> dict[str, Any]:
        """Return the row's values as the page shows them: roles apart from groups, and only companies that the editor
        sees."""
        shown: dict[str, Any] = {name: groups.filter(user=row) for name, groups in self._find_group_choices().items()}
        shown["managed_corps"] = row.managed_corps.filter(pk__in=Corp.objects.visible_to(self.editor))
        keys = {name: sorted(rows.values_list("pk", flat=True)) for name, rows in shown.items() if name in self.fields}
        accounts = WeComAccount.objects.visible_to(self.editor).filter(user=row).order_by("pk")
        return {
            **super().read_values(row),
            **keys,
            "accounts": list(accounts.values_list("corp", "userid", "is_primary")),
            "attributes": [(one.pk, values) for one, values in attributes.list_attributes_with_values(user_id=row.pk)],
        }

    def clean(self) -> dict[str, Any]:
        """Join the two fields for groups, keep groups and companies that the editor does not see, check unique values,
        and require a decision on what the person owns."""
        cleaned = super().clean() or self.cleaned_data
        cleaned.pop("password", None)  # read-only: saving it would undo a simultaneous change by the person
        if "roles" in cleaned:
            lists: list[Any] = [self.fields[name] for name in ("roles", "groups") if name in self.fields]
            offered = {pk for field in lists for pk in field.queryset.values_list("pk", flat=True)}
            not_offered = Group.objects.filter(user=self.instance).exclude(pk__in=offered)
            cleaned["groups"] = [*not_offered, *cleaned["roles"], *cleaned.get("groups", [])]
        for attribute, values in self.read_attribute_values():
            holders = attributes.find_holders(attribute=attribute, values=values) if attribute.is_unique else {}
            others = {value: holders.get(fold_value(value), set()) - {self.instance.pk} for value in values}
            taken = next((value for value in values if others[value]), None)
            if taken is not None:
                sentence = attributes.describe_holder(taken, others[taken].pop(), reader=self.editor)
                self.add_error(attributes.make_field_name(attribute), sentence)
        # Require a decision on what the person owns if the person is disabled or may no longer enter the
        # administration.
        successor, keys = cleaned.get("successor"), cleaned.get("taken_over", [])
        taken_over = set() if successor is None else set(keys)
        ownerless = [key for key, _name, _url, next_owner in self.owned if key not in taken_over and not next_owner]
        loses_access = any(self.initial.get(name) and cleaned.get(name) is False for name in ("is_active", "is_staff"))
        sentences: list[Any] = []
        if successor is not None:
            sentences = companies.ownership().find_objections(self.instance, keys, successor, self.editor)
        if ownerless and loses_access and not cleaned.get("lets_stop"):
            sentences = [*sentences, _("Choose who takes over what this person owns, or confirm that it may stop.")]
        for sentence in sentences:
            self.add_error("successor", sentence)
        if "managed_corps" in cleaned:
            unseen = self.instance.managed_corps.exclude(pk__in=Corp.objects.visible_to(self.editor))
            cleaned["managed_corps"] = [*unseen, *cleaned["managed_corps"]]
        if objection := bi_identity.explain_objection_to_rights(self.instance, cleaned):
            self.add_error(None, objection)
        return cleaned

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]  # not in the stubs
        if "roles" in self.cleaned_data:
            self.instance.groups.set(self.cleaned_data["groups"])

    def read_attribute_values(self) -> list[tuple[Attribute, list[str]]]:
        """Return the attributes that the editor may set, with the entered values."""
        return [
            (field.attribute, self.cleaned_data[name])
            for name, field in self.fields.items()
            if isinstance(field, attributes.ValuesField) and not field.disabled and name in self.cleaned_data
        ]


class LinesField(forms.CharField):
    """Field for a list of texts, one in each line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (value or "").splitlines()] if not isinstance(value, list) else value
        return list({fold_value(line): line for line in lines if line}.values())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.to_python(data))


class AttributeForm(VersionedForm):
    choices = LinesField(
        required=False,
        label=capfirst(_("choices")),
        help_text=_("One per line. Only for the kind “choice from a list”."),
    )

    class Meta:
        model = Attribute
        fields = "__all__"  # the admin limits them by its fieldsets

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if fold_header(name) in RESERVED_TITLES:
            raise ValidationError(gettext("Sheets of people have a column of this name already."))
        return name

    def clean_choices(self) -> list[str]:
        lines: list[str] = self.cleaned_data["choices"]
        if len(lines) > CHOICES_AT_MOST:
            raise ValidationError(gettext("At most %(count)d choices.") % {"count": CHOICES_AT_MOST})
        for line in lines:
            if len(line) > VALUE_CHARACTERS or not line.isprintable() or SEPARATORS.search(line):
                raise ValidationError(gettext("“%(value)s” cannot be a choice.") % {"value": line[:64]})
        return lines

    def _post_clean(self) -> None:
        """Validate the model, then check that existing values and uses fit the definition."""
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        if not self.errors:
            try:
                attributes.check_definition(attribute=self.instance)
            except ValidationError as error:
                self.add_error(None, error)
