"""Forms of the administration of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import forms as auth_forms
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

from accounts.authentication.forms import SavesPasswordAlone
from accounts.models import User, WeComAccount, fold_userid
from accounts.users import companies
from accounts.users.scopes import people_visible_to, sees_all
from integrations.admin.base import TidyField
from integrations.core.admin_pages import AnyModelForm, VersionedFormSet
from integrations.models import Corp

if TYPE_CHECKING:
    CreationFormBase = auth_forms.AdminUserCreationForm[User]
    PasswordFormBase = auth_forms.AdminPasswordChangeForm[User]
else:
    CreationFormBase = auth_forms.AdminUserCreationForm
    PasswordFormBase = auth_forms.AdminPasswordChangeForm


class UserCreationForm(CreationFormBase):
    """Without a password unless somebody asks for one: WeCom signs people in."""

    class Meta:
        model = User
        fields = ("username", "name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["usable_password"].initial = "false"
        self.fields["usable_password"].label = _("Sign-in with a password")
        self.fields["usable_password"].help_text = _("Without a password the person signs in with WeCom only.")


class PasswordForm(SavesPasswordAlone, PasswordFormBase):
    """Says in the language of who reads what Django's says in that of the process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
        """Why? "One primary account" is the formset's to check: the row that was primary may be about to change."""
        exclusions: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return exclusions | {"is_primary"}


class WeComAccountFormSet(VersionedFormSet):
    """A person's accounts. At most one receives messages, each identity belongs to one person."""

    # Who edits; set by the admin for each request.
    person: User

    def add_fields(self, form: AnyModelForm, index: int | None) -> None:
        """A further account does not receive messages unless somebody says so."""
        super().add_fields(form, index)
        if form.instance._state.adding and index != 0:
            form.initial["is_primary"] = False

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        kept = [form for form in self.forms if self._is_kept(form)]
        if len([form for form in kept if form.cleaned_data["is_primary"]]) > 1:
            raise forms.ValidationError(_("Messages can go to one account only. Tick “receives messages” once."))
        if not sees_all(self.person) and not any(form.cleaned_data["corp"] for form in kept):
            message = _(
                "Choose a WeCom company for this person: otherwise you would not see them any more. To take away "
                "sign-in, empty the WeCom account."
            )
            raise forms.ValidationError(message)
        seen: set[tuple[int, str]] = set()
        for form in kept:
            self._check_identity(form, seen)

    def save(self, commit: bool = True) -> Any:
        """Saves the others first: otherwise the person would have two primary accounts for a moment."""
        chosen = next((form for form in self.forms if self._is_kept(form) and form.cleaned_data["is_primary"]), None)
        if commit and chosen is not None:
            others = WeComAccount.objects.filter(user=self.instance, is_primary=True).exclude(pk=chosen.instance.pk)
            others.update(is_primary=False)
        saved = super().save(commit=commit)
        if commit:
            companies.settle_primary_accounts([self.instance.pk])
        return saved

    def _is_kept(self, form: AnyModelForm) -> bool:
        if not form.is_valid() or form.cleaned_data.get(forms.formsets.DELETION_FIELD_NAME):
            return False
        return not form.instance._state.adding or form.has_changed()

    def _check_identity(self, form: AnyModelForm, seen: set[tuple[int, str]]) -> None:
        # Not from the cleaned data: for rows that one may not change, the admin puts plain keys there.
        corp, userid = form.instance.corp, fold_userid(form.instance.userid)
        if corp is None or not userid:
            return
        if (corp.pk, userid) in seen:
            form.add_error("userid", _("This account stands here twice."))
        seen.add((corp.pk, userid))
        holder = WeComAccount.objects.for_identity(corp=corp, userid=userid).exclude(user=self.instance.pk).first()
        if holder is not None:
            form.add_error("userid", self._taken(holder.user, corp))

    def _taken(self, holder: User, corp: Corp) -> str:
        """Names the other person to those only who may see them."""
        if people_visible_to(self.person).filter(pk=holder.pk).exists():
            sentence = _("In “%(corp)s” this account belongs to %(person)s already. Remove it there first.")
        else:
            sentence = _("In “%(corp)s” this account belongs to somebody else already.")
        return sentence % {"corp": corp, "person": holder}


class CompanyForm(forms.Form):
    """Which company to set for the selected people."""

    corp = forms.ModelChoiceField(queryset=Corp.objects.none(), label=_("WeCom company name"))

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["corp"].queryset = Corp.objects.visible_to(person)  # type: ignore[attr-defined]  # see above
