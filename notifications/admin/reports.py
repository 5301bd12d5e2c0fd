"""Forms and admin pages of reports, with their cards, charts, own rows and page picture. A template that fails is
refused with line and reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import iri_to_uri
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.base import Column
from accounts.models import User
from accounts.users.roles import sees_rows_without_corp
from integrations.admin.base import NamedDeletions, hide_related_links
from integrations.clients.wecom.builders import LINK_BYTES, MessageError
from integrations.core import admin_pages
from integrations.data.table import Table
from integrations.models import Card, Corp
from notifications.admin.base import PartPermissions, get_administrator, is_key, set_form_person
from notifications.charts import definition as charts
from notifications.charts.definition import ChartError
from notifications.delivery.rendering import message_builder
from notifications.delivery.rendering.report_contents import ReportParts, read_latest_tables
from notifications.delivery.runs import ownership
from notifications.models import (
    REPORT_FORMS,
    MessageForm,
    OwnRowsRule,
    Report,
    ReportCard,
    ReportChart,
    Subscription,
)
from notifications.reports.templates import renderer
from notifications.reports.templates.renderer import RenderContext
from notifications.reports.templates.values import TemplateError
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import count_reachability, read_audience
from notifications.tasks import enqueue_runs

AS_RECIPIENTS, AS_OWNER = "recipients", "owner"
# `picture_seen_by` is no column: it chooses whose rights in the BI are used.
SEEN_BY = "picture_seen_by"
PICTURE_FIELDS = (
    *("picture_kind", "picture_bi_id", "picture_name", "picture_width", "picture_theme", "picture_is_cropped"),
)
# Maximum number of subscriptions that are checked for recipients.
SUBSCRIPTIONS_CHECKED = 50
CARDS_AT_MOST = 10
RULES_AT_MOST = 20
CHARTS_AT_MOST = 10
CHART_FIELDS = (*("position", "alias", "kind", "title", "x", "y", "series", "unit"), *("top", "sort", "aggregate"))
# The inlines of a report and their fields.
PARTS: dict[type[Model], tuple[str, ...]] = {
    ReportCard: ("card", "alias", "title", "position"),
    ReportChart: CHART_FIELDS,
    OwnRowsRule: ("alias", "column", "attribute", "value"),
}
TEMPLATES = ("title", "body", "figures")


class ReportForm(admin_pages.VersionedForm):
    """The form of a report with its page picture. `person`: the signed-in administrator, set by the admin.
    `subscription_on_page`: key of the subscription edited on the same page, whose own form checks it. `is_for_copy`:
    the report becomes a copy, so other subscriptions keep the saved one."""

    person: User
    subscription_on_page: int | None = None
    is_for_copy = False
    edits_rows = True  # cards, charts and own-row rules
    # Initial values that differ from the model's defaults.
    new_values: Mapping[str, Any] = MappingProxyType({"is_template": True})
    # Offered to the owner only.
    picture_seen_by = forms.ChoiceField(
        label=_("what they see"),
        choices=[
            (AS_RECIPIENTS, _("each recipient with their own rights in the BI")),
            (AS_OWNER, _("all recipients as I see it")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )

    class Meta:
        model = Report
        fields = (
            *("title", "body", "is_template", "figures", "link", "corp", "skips_people_without_rows"),
            *PICTURE_FIELDS,
        )
        widgets = {
            "title": forms.TextInput(attrs={"class": "vLargeTextField"}),
            "figures": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 3}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "corp" in self.fields:
            corp: Any = self.fields["corp"]
            corp.queryset = Corp.objects.visible_to(self.person)
            # Only people who see all companies may write for all.
            corp.required = not sees_rows_without_corp(self.person)
        if self.instance._state.adding:
            self.initial = {**self.new_values, **self.initial}
        if "body" in self.fields:
            self.fields["body"].required = False  # key figures need no further words
        is_mine = self.instance.picture_shown_as_id == self.person.pk
        self.initial[SEEN_BY] = AS_OWNER if is_mine else AS_RECIPIENTS
        if not ownership.may_show_as(self.instance, self.person):
            del self.fields[SEEN_BY]
        if self.is_bound and "picture_bi_id" not in self.data:  # sent without this part: the picture stays as it is
            for name in {*PICTURE_FIELDS, SEEN_BY} & self.fields.keys():
                self.fields[name].disabled = True

    @property
    def consequence(self) -> str:
        """The explanation of what it means to show everybody one's own view of the page."""
        return gettext(
            "Every recipient sees the page as %(name)s sees it in the BI, with all rows that %(name)s may see. This "
            "includes people who may see less there or have no account, and people who join a chosen department, group "
            "or chat later. It ends when somebody else edits the push or its robot's webhook address."
        ) % {"name": self.person.get_full_name()}

    def read_values(self, row: Any) -> dict[str, Any]:
        parts = {
            model.__name__: list(model._default_manager.filter(report=row.pk).order_by("pk").values_list(*names))
            for model, names in PARTS.items()
        }
        return {**super().read_values(row), **parts}

    def list_saved_rows(self) -> Sequence[Model]:
        return [self.instance, *Subscription.objects.filter(report=self.instance.pk)]

    def clean_title(self) -> str:
        title: str = self.cleaned_data["title"]
        if "{" not in title:  # plain titles are sent as typed; the result of a template is cut if too long
            MaxLengthValidator(message_builder.TITLE_CHARACTERS)(title)
        return title

    def clean_figures(self) -> str:
        figures: str = self.cleaned_data["figures"]
        if not figures and not self.cleaned_data.get("body") and "body" not in self.errors:
            self.add_error("body", forms.Field.default_error_messages["required"])
        return figures

    def clean_link(self) -> str:
        link: str = self.cleaned_data["link"].strip()
        if link and not message_builder.find_link_target(link):
            raise ValidationError(
                _("Write an address that begins with http:// or https://, or a path of this site that begins with /.")
            )
        if len(iri_to_uri(link)) > LINK_BYTES:
            sentence = _(
                "The link is too long: %(count)d bytes as browsers write it, and WeCom takes %(most)d at most."
            )
            raise ValidationError(sentence % {"count": len(iri_to_uri(link)), "most": LINK_BYTES})
        return link

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("picture_bi_id") and not cleaned.get("picture_name"):
            self.add_error("picture_name", forms.Field.default_error_messages["required"])
        elif not cleaned.get("picture_bi_id") and "picture_bi_id" not in self.errors:
            cleaned |= {name: getattr(Report(), name) for name in PICTURE_FIELDS}
        if not self.errors and "corp" in self.changed_data:
            self._check_subscriptions(cleaned.get("corp"))
        if self.errors or self.instance.is_draft:
            return cleaned
        if not cleaned.get("is_template"):
            title, text = message_builder.tidy_title(cleaned["title"]), message_builder.tidy_text(cleaned["body"])
            url = "https://example.invalid/m/"
            words = message_builder.Words(title, text, url, picture_url=url, task_id="mark")
            for value, _label in REPORT_FORMS:
                try:
                    message_builder.build_body(MessageForm(value), words, agentid=1, userids=["a"])
                except MessageError as error:
                    raise ValidationError(str(RenderingError.of(error))) from error
            return cleaned
        # Render each template over the last fetched data; a card without data has empty cells. Nothing is fetched,
        # because a slow source must not keep people from saving.
        tables = find_tables_to_try(read_card_keys(self.data), self.person, self.instance)
        context = RenderContext(timezone.now(), ZoneInfo(settings.TIME_ZONE), tables)
        for name, form in (("title", ""), ("body", MessageForm.TEXTCARD), ("figures", "")):
            try:
                renderer.render_template(cleaned.get(name) or "", context, form)
            except TemplateError as error:
                self.add_error(name, str(error))
        return cleaned

    def save_rights(self) -> None:
        """Save whose view of the BI page all recipients see: the person's own if they chose so, else nobody's. Call it
        after `end_shared_view`, when the report and its push are saved."""
        report = self.instance
        report.refresh_from_db(fields=ownership.PICTURE_RIGHTS)
        if not report.has_picture:
            if any(getattr(report, name) is not None for name in ownership.PICTURE_RIGHTS):
                ownership.show_page_as(report, None)
        elif SEEN_BY in self.fields and not self.fields[SEEN_BY].disabled:
            person = self.person if self.cleaned_data[SEEN_BY] == AS_OWNER else None
            if report.picture_shown_as_id != (None if person is None else person.pk):
                ownership.show_page_as(report, person)

    def _check_subscriptions(self, corp: Corp | None) -> None:
        """Refuse a change of company that leaves an enabled push without recipients."""
        if self.instance._state.adding or self.is_for_copy:
            return
        pushes = Subscription.objects.filter(report=self.instance.pk, is_enabled=True).order_by("pk")
        if self.subscription_on_page is not None:
            pushes = pushes.exclude(pk=self.subscription_on_page)
        for subscription in pushes[:SUBSCRIPTIONS_CHECKED]:
            audience = replace(read_audience(subscription), corp_id=corp.pk if corp else None)
            if not count_reachability(audience, seen_by=self.person, named=0).concerns_somebody:
                message = _("With this company the push “%(name)s” would reach nobody. Disable it first.")
                self.add_error("corp", message % {"name": subscription})


class _PartFormSet(admin_pages.VersionedFormSet):
    """Rows of a report. `person`: the signed-in administrator, set by the admin."""

    person: User
    default_error_messages: ClassVar[dict[str, Any]] = {
        "too_many_forms": _("At most %(num)d of these: take some away.")
    }


class CardFormSet(_PartFormSet):
    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            alias = form.cleaned_data.get("alias", "")
            if alias in renderer.find_reserved_names():
                form.add_error("alias", _("“%(name)s” has a meaning already; choose another name.") % {"name": alias})


class RuleFormSet(_PartFormSet):
    """The own-row rules of a report. A rule must name one of its cards, or it would hide everything."""

    def clean(self) -> None:
        super().clean()
        known = read_card_keys(self.data)
        for form in self.forms:
            values = form.cleaned_data
            if not values or values.get("DELETE"):
                continue
            if "alias" in values and values["alias"] not in known:
                form.add_error("alias", _("The content has no data of this name."))
            if bool(values.get("attribute")) == bool((values.get("value") or "").strip()):
                form.add_error("attribute", _("Choose an attribute, or enter a fixed value: one of the two."))


class ChartFormSet(_PartFormSet):
    """The charts of a report. A chart that cannot be drawn over the last fetched data is refused."""

    def clean(self) -> None:
        super().clean()
        drawn = [form for form in self.forms if form.cleaned_data and not form.cleaned_data.get("DELETE")]
        drawn = [form for form in drawn if not form.errors]
        known = read_card_keys(self.data)
        tables = find_tables_to_try(known, self.person, self.instance) if drawn and not self.instance.is_draft else {}
        for form in drawn:
            alias = form.cleaned_data["alias"]
            if alias not in known:
                form.add_error("alias", _("The content has no data of this name."))
            elif table := tables.get(alias):
                try:
                    charts.check_chart(form.instance.chart, table)
                except ChartError as error:
                    form.add_error(None, str(error))


def read_row_aliases(values: Mapping[str, Any], prefix: str, most: int) -> dict[str, str]:
    """Map the prefixes of the submitted rows that are not deleted to the aliases of their cards. `most`: rows saved."""
    names = [f"{prefix}-{number}" for number in range(most * 2)]  # deleted rows keep their numbers
    rows = {name: str(values.get(f"{name}-alias", "")).strip() for name in names if not values.get(f"{name}-DELETE")}
    return {name: alias for name, alias in rows.items() if alias}


def read_card_keys(values: Mapping[str, Any]) -> dict[str, int]:
    """Return alias → card key from a submitted report page. The keys are not trusted: read the cards by
    `find_tables_to_try` or `visible_to` only."""
    keys = {
        alias: str(values.get(f"{row}-card", ""))
        for row, alias in read_row_aliases(values, "report_cards", CARDS_AT_MOST).items()
    }
    return {alias: int(key) for alias, key in keys.items() if is_key(key)}


def read_parts(report: Report, formsets: Iterable[Any]) -> tuple[ReportParts, str]:
    """Read a report from submitted formsets, and the problem of the first invalid row, which is left out. Saved rows
    that were not submitted are kept."""
    rows: dict[type[Model], list[Any]] = {}
    problems = []
    for formset in formsets:
        found = rows.setdefault(formset.model, [])
        saved = {row.pk: row for row in formset.get_queryset()}
        problems += [str(text) for text in formset.non_form_errors()]
        for number, form in enumerate(formset.forms, start=1):
            saved.pop(form.instance.pk, None)
            if form.cleaned_data.get("DELETE") or (form.empty_permitted and not form.has_changed()):
                continue
            if not form.errors:
                found.append(form.instance)
                continue
            name, [text, *_others] = next(iter(form.errors.items()))
            facts = {"part": formset.model._meta.verbose_name, "number": number, "problem": text}
            sentence = _("%(part)s %(number)d, “%(field)s”: %(problem)s")
            problems.append(sentence % {**facts, "field": form.fields[name].label if name in form.fields else ""})
        found += saved.values()
    cards, charts = (sorted(rows.get(model, ()), key=lambda row: row.position) for model in (ReportCard, ReportChart))
    return ReportParts(report, cards, charts, rows.get(OwnRowsRule, ())), next(iter(problems), "")


def find_tables_to_try(cards: Mapping[str, int], person: User, report: Report) -> dict[str, Table | None]:
    """Return for each card its last fetched data to try templates and charts on. None if nothing was fetched or
    `person` may not choose the card, because error messages reveal names and cells."""
    allowed = find_choosable_cards(person, None if report._state.adding else report).filter(pk__in=cards.values())
    keys = set(allowed.values_list("pk", flat=True))
    tables = read_latest_tables({alias: key for alias, key in cards.items() if key in keys})
    return {alias: tables.get(alias) for alias in cards}


def find_choosable_cards(person: User, report: Report | None) -> Any:
    """Return the cards that the person sees and those that the report already has."""
    chosen = ReportCard.objects.filter(report=report).values("card")
    return Card.objects.filter(Q(pk__in=Card.objects.visible_to(person).values("pk")) | Q(pk__in=chosen))


def end_shared_view(report: Report, edited: Iterable[Any], by: User) -> list[int]:
    """End the sharing of the owner's view if somebody else edits the report. `edited`: its forms and formsets. Return
    the keys of the runs that notify the owner. Call it before the edit is saved."""
    is_edited = report.pk is not None and any(one is not None and one.has_changed() for one in edited)
    return ownership.end_page_rights(report, by=by, now=timezone.now()) if is_edited else []


# --- The parts of a report on an admin page


class _ReportPart(PartPermissions):
    """An inline of the report page. People who may add reports may fill it in, too. `select_name`: the select whose
    links to related pages are hidden."""

    whole = "report"
    extra = 0
    select_name = ""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notifications.change_report" if obj else "notifications.add_report")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, validate_max=True, **kwargs)  # type: ignore[misc]  # mixed into inlines
        formset.person = get_administrator(request)
        hide_related_links(formset.form, self.select_name)
        return formset


class ReportChartInline(_ReportPart, admin_pages.AnyStackedInline):
    model = ReportChart
    formset = ChartFormSet
    fields = CHART_FIELDS
    max_num = CHARTS_AT_MOST

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "y":
            kwargs["widget"] = forms.Textarea(attrs={"rows": 3})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class ReportCardInline(_ReportPart, admin_pages.AnyTabularInline):
    model = ReportCard
    formset = CardFormSet
    fields = PARTS[ReportCard]
    max_num = CARDS_AT_MOST
    select_name = "card"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        card: Any = formset.form.base_fields.get("card")
        if card is not None:
            card.queryset = find_choosable_cards(get_administrator(request), obj)
        return formset


class OwnRowsInline(_ReportPart, admin_pages.AnyTabularInline):
    model = OwnRowsRule
    formset = RuleFormSet
    fields = PARTS[OwnRowsRule]
    max_num = RULES_AT_MOST
    select_name = "attribute"


@admin.register(Report)
class ReportAdmin(NamedDeletions):
    empty_list = _(
        "A report is what a push sends: a title, a text, and the page that it leads to. It is usually made together "
        "with its push."
    )
    form = ReportForm
    list_display = (
        Column("plain_title", _("title"), lambda report: report.plain_title, ordering="title"),
        *("corp", Column("subscription_count", _("pushes"), lambda report: report.subscription_total), "created_at"),
    )
    list_select_related = ("corp",)
    search_fields = ("title",)
    actions = None
    inlines = (ReportCardInline, ReportChartInline, OwnRowsInline)
    fieldsets = (
        (None, {"fields": ("title", "body", "is_template", "figures", "link", "corp")}),
        (_("Own rows"), {"fields": ("skips_people_without_rows",)}),
        (_("Picture of a page"), {"fields": PICTURE_FIELDS}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Report]:
        """Order the reports here, since the autocomplete select of the subscription page keeps this order."""
        pushes = Subscription.objects.filter(report=OuterRef("pk")).order_by().values("report")
        count = Subquery(pushes.annotate(total=Count("pk")).values("total"))
        return Report.objects.visible_to(request.user).annotate(subscription_total=Coalesce(count, 0)).order_by("-pk")

    def get_form(self, request: HttpRequest, obj: Report | None = None, change: bool = False, **kwargs: Any) -> Any:
        return set_form_person(super().get_form(request, obj, change=change, **kwargs), request, ["corp"])

    def get_fieldsets(self, request: HttpRequest, obj: Report | None = None) -> Any:
        may_save = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        is_offered = may_save and ownership.may_show_as(obj or Report(), get_administrator(request))
        return [*self.fieldsets, (None, {"fields": (SEEN_BY,)})] if is_offered else self.fieldsets

    def save_model(self, request: HttpRequest, obj: Report, form: Any, change: bool) -> None:
        enqueue_runs(end_shared_view(obj, [form] if change else (), get_administrator(request)))
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        enqueue_runs(end_shared_view(form.instance, formsets if change else (), get_administrator(request)))
        super().save_related(request, form, formsets, change)
        form.save_rights()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Redirect to the newest push of the report if the person may change both: that page can edit everything."""
        key, permissions = unquote(object_id), ("notifications.change_report", "notifications.change_subscription")
        if request.method == "GET" and is_key(key) and request.user.has_perms(permissions):
            pushes = Subscription.objects.visible_to(request.user).filter(report=int(key))
            if push := pushes.order_by("-pk").first():
                return HttpResponseRedirect(reverse("admin:notifications_subscription_change", args=[push.pk]))
        return super().change_view(request, object_id, form_url, extra_context)
