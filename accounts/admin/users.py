"""Admin pages of people with their WeCom accounts, and of attribute definitions."""

from __future__ import annotations

import json
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin import imports, user_forms
from accounts.admin.base import Column, OptionFilter, may_link
from accounts.admin.directory import CompanyFilter
from accounts.admin.imports import ExportPages
from accounts.admin.person import PersonPages
from accounts.models import Attribute, AttributeValue, User, WeComAccount, fold_userid, fold_value
from accounts.users import attributes, companies, roles
from accounts.users.attributes import ValueTakenError
from accounts.users.companies import ownership
from accounts.users.roles import (
    PermissionsField,
    find_changeable_people,
    find_choosable_permissions,
    find_visible_people,
    sees_all,
)
from accounts.views.confirmation import get_signed_in_person
from integrations.admin.base import NamedDeletions, RowAction, State, show_page, show_state
from integrations.core.admin_pages import AnyModelAdmin, AnyTabularInline, ConfirmedChanges
from integrations.models import Corp
from integrations.models.fields import list_encrypted_columns

# Number of people named in a message.
NAMED_PEOPLE = 10


_IS_LINKED = Exists(WeComAccount.objects.complete().filter(user=OuterRef("pk")))


class LinkFilter(OptionFilter):
    title = _("link with WeCom")
    parameter_name = "linked"
    options = {
        "no": (_("not linked"), lambda people: people.exclude(_IS_LINKED)),
        "yes": (_("linked"), lambda people: people.filter(_IS_LINKED)),
    }


@admin.register(Attribute)
class AttributeAdmin(ConfirmedChanges, AnyModelAdmin):
    form = user_forms.AttributeForm
    list_display = ("name", "key", "kind", "is_many_valued", "is_unique", "is_employee_number", "is_bi_login_id")
    search_fields = ("name", "key")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "key", "description", "position")}),
        (_("Values"), {"fields": ("kind", "choices", "is_many_valued", "is_unique")}),
        (_("Uses"), {"fields": ("is_employee_number", "is_bi_login_id")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List company and WeCom account as built-in attributes, too, once a WeCom company was ever enabled."""
        context = {"have_wecom_attributes": attributes.has_wecom_attributes(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_readonly_fields(self, request: HttpRequest, obj: Attribute | None = None) -> tuple[str, ...]:
        return ("key",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Attribute, form: Any, change: bool) -> None:
        with transaction.atomic():
            obj.save()
            # Update the copy of the flag in each value, which a constraint needs.
            values = AttributeValue.objects.of(obj).exclude(is_unique=obj.is_unique)
            values.update(is_unique=obj.is_unique)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return the number of people with values, not each value, and the rows that forbid the deletion."""
        deleted: list[Any] = []
        for one in objs:
            count = AttributeValue.objects.of(one).values("user").distinct().count()
            sentence = ngettext("The values of %(count)s person.", "The values of %(count)s people.", count)
            deleted += [str(one), [sentence % {"count": f"{count:,}"}]]
        protected = [f"{row._meta.verbose_name}: {row}" for one in objs for row in attributes.find_protecting_rows(one)]
        return deleted, {self.opts.verbose_name_plural: len(objs)}, set(), protected

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and sees_all(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        return super().has_change_permission(request, obj) and sees_all(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Attribute | None = None) -> bool:
        """Forbid to delete the attribute that is marked as loginId of the BI."""
        is_login_id = obj is not None and obj.is_bi_login_id
        return super().has_delete_permission(request, obj) and sees_all(request.user) and not is_login_id


# Attributes with more choices get no filter, which would be too long for the page.
CHOICES_IN_FILTER = 30


class PersonCompanyFilter(CompanyFilter):
    """Filter by the companies of people's accounts."""

    def make_condition(self, value: Any) -> Q:
        return Q(Exists(WeComAccount.objects.filter(user=OuterRef("pk"), corp_id=value)))


class WeComAccountInline(AnyTabularInline):
    model = WeComAccount
    template = "admin/accounts/user/accounts_inline.html"
    form = user_forms.WeComAccountForm
    formset = user_forms.WeComAccountFormSet
    extra = 0
    min_num = 1

    def get_queryset(self, request: HttpRequest) -> QuerySet[WeComAccount]:
        accounts = WeComAccount.objects.visible_to(get_signed_in_person(request))
        return accounts.select_related("corp").order_by("-is_primary", "pk")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.editor = get_signed_in_person(request)
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the companies that the user sees, without links to add or change one."""
        if db_field.name != "corp":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return db_field.formfield(queryset=Corp.objects.visible_to(get_signed_in_person(request)))

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_add_permission(request, obj) and may_change(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and may_change(request, obj)


def may_change(request: HttpRequest, person: User | None) -> bool:
    """Return whether the user may change `person` (see find_changeable_people); True without a person. The result is
    cached on the request, because a person's page needs it some thirty times."""
    if person is None or person.pk is None:
        return True
    cache: dict[int, bool] = request.__dict__.setdefault("_may_change", {})
    if person.pk not in cache:
        cache[person.pk] = find_changeable_people(get_signed_in_person(request)).filter(pk=person.pk).exists()
    return cache[person.pk]


# Columns of the person's first visible account: the primary one, if the user sees its company.
ACCOUNT_COLUMNS = (
    Column(
        "company",
        _("WeCom company name"),
        lambda person: next((one.corp.name for one in person.accounts_by_rank[:1] if one.corp), "—"),
    ),
    Column(
        "wecom_account",
        _("WeCom account"),
        lambda person: next((one.userid for one in person.accounts_by_rank[:1] if one.userid), "—"),
    ),
)

STATE_COLUMN = Column(
    "state",
    _("status"),
    lambda person: show_state(State.FINE if person.is_active else State.DISABLED),
    ordering="is_active",
)


@admin.register(User)
class UserAdmin(ConfirmedChanges, ExportPages, PersonPages, NamedDeletions, DjangoUserAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    add_form = user_forms.UserCreationForm
    change_password_form = user_forms.PasswordForm
    add_form_template = "admin/accounts/user/add_form.html"
    form = user_forms.UserChangeForm
    inlines = (WeComAccountInline,)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Personal information"), {"fields": ("name", "email", "mobile", "is_active")}),
        (_("Rights"), {"classes": ("collapse",), "fields": user_forms.RIGHTS_FIELDS}),
        (_("Dates"), {"classes": ("collapse",), "fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "name", "usable_password", "password1", "password2")}),
    )
    readonly_fields = ("last_login", "date_joined", "attributes_shown")
    list_display = ("username", "name", STATE_COLUMN, "is_staff")
    list_filter = ("is_active", "is_staff")
    search_fields = ("username", "name")
    search_help_text = _("Username or name")
    # Do not use Django's widget with two lists: its texts have no Chinese translation.
    filter_horizontal = ()
    autocomplete_fields = ("groups", "managed_corps")
    actions = ("set_company", "set_attribute")

    def get_list_display(self, request: HttpRequest) -> Any:
        if not attributes.has_wecom_attributes(request):
            return self.list_display
        return ("username", "name", *ACCOUNT_COLUMNS, STATE_COLUMN, "is_staff")

    def get_list_filter(self, request: HttpRequest) -> Any:
        wecom_filters = (LinkFilter, PersonCompanyFilter) if attributes.has_wecom_attributes(request) else ()
        choice_attributes = Attribute.objects.filter(kind=Attribute.Kind.CHOICE).by_name()
        choice_filters = []
        for attribute in (one for one in choice_attributes if len(one.choices) <= CHOICES_IN_FILTER):
            values = AttributeValue.objects.of(attribute)
            options = {
                choice: (
                    choice,
                    lambda people, values=values, choice=choice: people.filter(
                        pk__in=values.among([choice]).order_by().values("user_id")
                    ),
                )
                for choice in attribute.choices
            }
            members = {"title": attribute.name, "parameter_name": f"a_{attribute.key}", "options": options}
            choice_filters.append(type("ChoiceFilter", (OptionFilter,), members))
        return (*wecom_filters, *super().get_list_filter(request), *choice_filters)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[User], search_term: str) -> Any:
        """Find people also by a unique value, such as an employee number, and by a WeCom account. Only accounts of
        companies that the user sees are searched, so that guesses reveal nothing about other accounts."""
        people, may_repeat = super().get_search_results(request, queryset, search_term)
        userid = fold_userid(search_term)
        if not userid:
            return people, may_repeat
        unique = Attribute.objects.filter(is_unique=True).order_by().values("pk")
        values = AttributeValue.objects.filter(attribute__in=unique, folded=fold_value(search_term))
        people |= queryset.filter(pk__in=values.order_by().values("user_id"))
        if attributes.has_wecom_attributes(request):
            accounts = WeComAccount.objects.visible_to(get_signed_in_person(request)).filter(
                userid_folded__contains=userid
            )
            people |= queryset.filter(pk__in=accounts.order_by().values("user_id"))
        return people, may_repeat

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        if attributes.has_wecom_attributes(request):
            changelist.search_help_text = gettext("Username, name or WeCom account (the ID in WeCom's contacts)")
        return changelist

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        return self.inlines if attributes.has_wecom_attributes(request) else ()

    def list_row_actions(self, request: HttpRequest, person: User) -> list[RowAction]:
        if not request.user.has_perm("notifications.view_receipt"):
            return []
        url = f"{reverse('admin:notifications_receipt_changelist')}?user__id__exact={person.pk}"
        return [RowAction("log", _("What this person received"), url)]

    def has_link_permission(self, request: HttpRequest) -> bool:
        """Return whether the bulk action `set_company` is offered."""
        return may_link(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse administrators of some companies until people have WeCom attributes: they could not see the person."""
        sees_new_person = sees_all(request.user) or attributes.has_wecom_attributes(request)
        return super().has_add_permission(request) and sees_new_person

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {
            "lacks_wecom_attributes": not attributes.has_wecom_attributes(request),
            "sheets": imports.may_import(get_signed_in_person(request)),
            "grid": self.has_attribute_permission(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        context["lacks_wecom_attributes"] = not attributes.has_wecom_attributes(request)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        accounts = WeComAccount.objects.visible_to(get_signed_in_person(request)).select_related("corp")
        # Do not decrypt the companies' secrets: only their names are shown.
        accounts = accounts.defer(*(f"corp__{column}" for column in list_encrypted_columns(Corp)))
        # Set the order here, because autocomplete does not set one.
        people = find_visible_people(get_signed_in_person(request)).order_by(*self.get_ordering(request))
        return people.prefetch_related(
            Prefetch("wecom_accounts", accounts.order_by("-is_primary", "pk"), to_attr="accounts_by_rank")
        )

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Leave out the fields for rights that the user may not change."""
        allowed = user_forms.find_rights_fields(get_signed_in_person(request), obj)
        fieldsets = []
        for title, options in super().get_fieldsets(request, obj):
            fields = allowed if options["fields"] is user_forms.RIGHTS_FIELDS else options["fields"]
            if obj is not None and not self.has_change_permission(request, obj):
                fields = tuple(name for name in fields if name != "password")
            if fields:
                fieldsets.append((title, {**options, "fields": fields}))
        if obj is not None and Attribute.objects.exists():
            is_changeable = self.has_change_permission(request, obj)
            names = tuple(attributes.make_fields(obj, editor=request.user)) if is_changeable else ("attributes_shown",)
            fieldsets.append((_("Attributes"), {"fields": names}))
        return fieldsets

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            kwargs |= {"form_class": PermissionsField, "queryset": find_choosable_permissions()}
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and self.has_change_permission(request, obj):
            fields = attributes.make_fields(obj, editor=request.user)
            kwargs["form"] = type("UserForm", (kwargs.get("form", self.form),), fields)
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.editor = get_signed_in_person(request)
        return form

    @admin.display(description=_("values"))
    def attributes_shown(self, person: User) -> SafeString:
        lines = [
            (one.name, attributes.join_values(values) or "—")
            for one, values in attributes.list_attributes_with_values(user_id=person.pk)
        ]
        return format_html_join("", '<div class="attribute-line"><b>{}</b> {}</div>', lines)

    @admin.display(description=_("roles"))
    def roles(self, person: User) -> str:
        """Show the roles to users who may only view the person."""
        groups = roles.find_role_groups().filter(user=person).order_by("pk")
        return ", ".join(roles.label_group(group.name) for group in groups) or "—"

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and may_change(request, obj)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refuse filters of the list by rights that the pages hide, except for superusers."""
        name = lookup.split("__")[0]
        is_hidden = name in user_forms.RIGHTS_FIELDS and name != "is_staff" and not request.user.is_superuser
        return not is_hidden and super().lookup_allowed(lookup, value, request)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Leave out related rows for administrators of some companies, as they may name other companies. Forbid to
        delete owners of objects of higher apps (companies.ownership). The page then names these, not missing rights."""
        listed, counts, needed, protected = cast("tuple[Any, ...]", super().get_deleted_objects(objs, request))
        if not sees_all(request.user):
            listed = [item for item in listed if not isinstance(item, list)]
        owned = [item for one in objs for item in ownership().find_owned(one, get_signed_in_person(request))]
        links = [format_html('<a href="{}">{}</a>', url, name) for _key, name, url, _successor in owned]
        return listed, counts, set() if links else needed, [*protected, *links]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if change:
            for attribute, values in form.read_attribute_values():
                attributes.set_values(attribute=attribute, values={form.instance.pk: values})
        if successor := form.cleaned_data.get("successor"):
            keys = form.cleaned_data["taken_over"]
            count = ownership().hand_over(form.instance, keys, successor, get_signed_in_person(request))
            sentence = gettext("%(person)s has taken over: %(count)d.") % {"person": successor, "count": count}
            messages.success(request, sentence)
        for sentence in ownership().let_successors_take_over([form.instance.pk]):
            messages.success(request, sentence)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Hide the names of accounts from administrators of some companies: an account may belong to another one."""
        response = super().history_view(request, object_id, extra_context)
        if isinstance(response, TemplateResponse) and not sees_all(request.user):
            for entry in cast("dict[str, Any]", response.context_data)["action_list"]:
                if entry.change_message.startswith("["):
                    changes = json.loads(entry.change_message)
                    for details in (one for change in changes for one in change.values() if "object" in one):
                        details["object"] = "…"
                    entry.change_message = json.dumps(changes)
        return response

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Handle the request again after a conflict: the validation then reports that the account or value is taken."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (IntegrityError, ValueTakenError):
            return super().changeform_view(request, *args, **kwargs)

    @admin.action(description=_("Set the WeCom company of the selected people"), permissions=["link"])
    def set_company(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Bulk action: ask for the company, then set it."""
        people = choose_people(request, queryset)
        if people is None:
            return None
        given = request.POST if "apply" in request.POST else None
        corps = Corp.objects.visible_to(get_signed_in_person(request))
        company = forms.ModelChoiceField(corps, label=_("WeCom company name"))
        form = user_forms.make_choice_form(given, "corp", company)
        if form.is_valid():
            corp = form.cleaned_data["corp"]
            change = companies.set_company(people=people, corp=corp)
            sentence = ngettext(
                "“%(corp)s” was set for %(count)s person.",
                "“%(corp)s” was set for %(count)s people.",
                change.changed_count,
            )
            messages.success(request, sentence % {"corp": corp, "count": f"{change.changed_count:,}"})
            if change.userid_taken:
                sentence = ngettext(
                    "%(count)d person is left as before, because the WeCom account belongs to somebody else in "
                    "“%(corp)s”: %(names)s",
                    "%(count)d people are left as before, because the WeCom accounts belong to somebody else in "
                    "“%(corp)s”: %(names)s",
                    len(change.userid_taken),
                )
                messages.warning(request, sentence % _describe_unchanged(change.userid_taken, corp))
            if change.has_other_account:
                sentence = ngettext(
                    "%(count)d person is left as before, because of another account in “%(corp)s”: %(names)s",
                    "%(count)d people are left as before, because they have other accounts in “%(corp)s”: %(names)s",
                    len(change.has_other_account),
                )
                messages.warning(request, sentence % _describe_unchanged(change.has_other_account, corp))
            return None
        context = {"title": _("Set the WeCom company"), "form": form}
        return render_selection_page(self, request, "set_company", queryset, people, context)

    def has_attribute_permission(self, request: HttpRequest) -> bool:
        """Return whether the bulk action `set_attribute` and the grid are offered."""
        return request.user.has_perm("accounts.change_user") and Attribute.objects.exists()

    @admin.action(description=_("Set an attribute of the selected people"), permissions=["attribute"])
    def set_attribute(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """Bulk action: ask for the attribute, then for the value, then set it."""
        people = choose_people(request, queryset)
        if people is None:
            return None
        chosen, given = (request.POST if name in request.POST else None for name in ("attribute", "apply"))
        allowed = [one.pk for one in Attribute.objects.all() if attributes.may_set(get_signed_in_person(request), one)]
        field = forms.ModelChoiceField(
            Attribute.objects.filter(pk__in=allowed).by_name(), label=capfirst(_("attribute"))
        )
        attribute_form = user_forms.make_choice_form(chosen, "attribute", field)
        attribute = attribute_form.cleaned_data["attribute"] if attribute_form.is_valid() else None
        values = attributes.ValuesField(attribute) if attribute else None
        form = user_forms.make_choice_form(given, "values", values) if values else None
        if attribute and form and form.is_valid():
            keys = people.order_by().values_list("pk", flat=True)
            try:
                wanted = dict.fromkeys(keys, form.cleaned_data["values"])
                count = attributes.set_values(attribute=attribute, values=wanted)
            except ValueTakenError as error:
                value, holder_id = next(iter(error.taken.values()))
                form.add_error("values", attributes.describe_holder(value, holder_id, reader=request.user))
            else:
                sentence = ngettext(
                    "“%(name)s” of %(count)s person was changed.", "“%(name)s” of %(count)s people was changed.", count
                )
                messages.success(request, sentence % {"name": attribute, "count": f"{count:,}"})
                return None
        context = {"title": _("Set an attribute"), "which": attribute_form, "attribute": attribute, "form": form}
        return render_selection_page(self, request, "set_attribute", queryset, people, context)


# Number of people that one request may change; an import can change more.
SET_AT_MOST = 10_000


def choose_people(request: HttpRequest, selected: QuerySet[User]) -> QuerySet[User] | None:
    """Return the selected people whom the user may change. If there are too many, show a message and return None."""
    changeable = find_changeable_people(get_signed_in_person(request))
    people = User.objects.filter(pk__in=selected.order_by().values("pk")).filter(pk__in=changeable.values("pk"))
    if people.count() <= SET_AT_MOST:
        return people
    link = format_html('<a href="{}">{}</a>', reverse("admin:accounts_peopleimport_add"), gettext("upload a file"))
    sentence = gettext("Nothing was changed: at most {count} people can be set at once. Select fewer, or {file}.")
    messages.error(request, format_html(sentence, count=f"{SET_AT_MOST:,}", file=link))
    return None


def render_selection_page(
    model_admin: Any,
    request: HttpRequest,
    action: str,
    selected: QuerySet[User],
    people: QuerySet[User],
    context: dict[str, Any],
) -> HttpResponse:
    """Render the page of a bulk action, whose form sends the selection back. `people`: those of `selected` who would be
    changed."""
    people_count = people.count()
    selection = {
        "action": action,
        "people_count": people_count,
        "left_out_count": selected.count() - people_count,
        "selected": request.POST.getlist("_selected_action"),
        "select_across": request.POST.get("select_across", "0"),
    }
    return show_page(model_admin, request, f"admin/accounts/user/{action}.html", {**selection, **context})


def _describe_unchanged(user_ids: list[int], corp: Corp) -> dict[str, Any]:
    """Return the values for a sentence on people who were not changed."""
    names = [str(person) for person in User.objects.filter(pk__in=user_ids[:NAMED_PEOPLE]).order_by("pk")]
    more = "…" if len(user_ids) > NAMED_PEOPLE else ""
    return {"count": len(user_ids), "corp": corp, "names": ", ".join(names) + more}
