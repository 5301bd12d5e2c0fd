"""The admin page of an alert rule: the rule and its people in one form, tried beside it on the data as it is now."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from integrations.core.page_versions import VERSION
from integrations.core.ways_out import offer_ways
from integrations.data.table import Table
from integrations.datasources.fetch import DataPreview
from notifications.admin import subscription_preview
from notifications.admin.base import RecipientsMixin, administrator, for_person
from notifications.admin.previews import PreviewMixin
from notifications.admin.push.folded_parts import Part, folded, summaries
from notifications.admin.push.one_page import ADDED_HERE, OnePage, apply_button, problems_of
from notifications.admin.push.preview import missing_part, outlook, sample, waiting_line
from notifications.admin.push.renaming import Missing, missing_card, missing_columns, renaming_in
from notifications.admin.rule.form import AlertRuleForm, RulePeopleForm
from notifications.admin.rule.renaming import CARD, changes, columns_named
from notifications.alerts import conditions, preview
from notifications.models import AlertReceiver, AlertRule, SilenceWindow

PARTS = (
    Part(
        "conditions",
        _("More about the conditions: severity, several checks, parts"),
        (
            *("join", "severity", "hold_checks", "no_data_checks"),
            *("split_column", "absent_checks", "split_attribute"),
        ),
    ),
    Part(
        "people",
        _("More recipients, delivery and repetition"),
        (
            *("groups", "with_subdepartments", "rules", "rules_match", "corp", "channel", "robot"),
            *("fallback_channel", "owner", "gather_seconds", "repeat_minutes", "notifies_recovery"),
        ),
    ),
    Part(
        "exceptions",
        _("Time zone, holidays, and when nobody is notified"),
        (
            *("notify_from", "notify_until", "notifies_on_workdays_only"),
            *("free_days", "time_zone", "jitter_seconds", "valid_from", "valid_to"),
        ),
        (("silence_windows", 0),),
    ),
)
# What a trial needs of the form.
_TRIED = ("card", "conditions", "split_column")


class RulePage(OnePage, PreviewMixin):
    """For the admin of alert rules."""

    draft_name = "rule"
    form = AlertRuleForm
    preview_path, preview_name = "try/", "notifications_alertrule_preview"
    preview_template = "admin/notifications/alertrule/_preview.html"
    change_form_template = "admin/notifications/alertrule/change_form.html"

    def get_urls(self) -> Any:
        return [*self.page_urls(self.admin_site.admin_view), *super().get_urls()]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        names = ["card", "owner", "split_attribute"]
        form: Any = for_person(super().get_form(request, obj, change=change, **kwargs), request, names)
        form.draft = self.draft_chosen(request, obj)
        form.people_class = self._people_class(request)
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        rule = self.get_object(request, unquote(object_id)) if object_id else None
        if request.method == "POST":
            apply_button(request, rule)
        extra: dict[str, Any] = {**(extra_context or {})}
        if self.has_add_permission(request) if rule is None else self.has_change_permission(request, rule):
            extra |= {"is_rule_page": True, "draft": self.draft_offered(request, rule)}
        if rule is None:
            extra["title"] = gettext("New alert")
        return super().changeform_view(request, object_id, form_url, extra)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context.get("is_rule_page"):
            form: AlertRuleForm = context["adminform"].form
            for one in filter(None, (form, form.people)):
                offer_ways(one.fields, request, always=ADDED_HERE)
            formsets = [one.formset for one in context["inline_admin_formsets"]]
            is_sent = request.method == "POST"
            context["problems"] = list(problems_of((form, form.people), formsets)) if is_sent else []
            context["errors"] = None  # Django's line, in place of which the list stands
            inlines = context["inline_admin_formsets"]
            context["folded_parts"] = folded(PARTS, (form, form.people), inlines, is_sent=is_sent)
            if form.people is not None:
                context["media"] += form.people.media
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Beside the form ----------------------------------------------------------------------------------------------

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The form as it stands: the card's rows, what the conditions say of them, who is notified, and when. Workers
        fetch the data: the page asks until it is there. Nothing is saved, nobody is notified."""
        rule = self.at_work(request)
        form = self._form_at_work(request, rule)
        form.is_valid()
        if form.people is not None:
            form.people.is_valid()
        context, data, table = self._tried(request, form)
        if "_page" in request.POST:
            return self.preview_answer(request, data, context)
        token = data.token if data is not None else ""
        missing = self._missing(request, form, data, table)
        if missing.strip() and table is not None:
            context = {}  # a column that is gone is said there, and nothing can be tried without it
        state = {"waiting": data if token else None, "problem": data.problem if data is not None else "", **context}
        found = subscription_preview.of_form(form, now=timezone.now(), with_message=False, is_check=True)
        tables = {} if table is None else {str(form.cleaned_data["card"]): table}
        return JsonResponse(
            {
                "token": token,
                "waiting": waiting_line(data),
                "html": render_to_string(self.preview_template, state, request),
                "rows": sample(request, tables, waiting=data),
                "missing": missing,
                "columns": [] if table is None else [[one.name, one.kind.value] for one in table.columns],
                "dates": conditions.relative_names(),
                "outlook": outlook(request, found, is_rule=True),
                "folded": summaries(PARTS, (form, form.people), request.POST, [SilenceWindow]),
            }
        )

    def _form_at_work(self, request: HttpRequest, rule: AlertRule | None) -> Any:
        """What was sent, to be tried: what others saved meanwhile is said when it is saved."""
        form: Any = self.get_form(request, rule)(request.POST, instance=rule or AlertRule())
        for one in filter(None, (form, form.people)):
            one.fields.pop(VERSION, None)
        return form

    def _tried(
        self, request: HttpRequest, form: AlertRuleForm
    ) -> tuple[dict[str, Any], DataPreview | None, Table | None]:
        """What the template of the trial needs, how far the data is, and the data once it is there."""
        card, now = form.cleaned_data.get("card"), timezone.now()
        wrong = [name for name in _TRIED if name in form.errors]
        is_begun = card is not None and bool(form["conditions"].value())
        shown = [name for name in wrong if is_begun or "_page" in request.POST or name != "conditions"]
        context: dict[str, Any] = {"errors": {name: form.errors[name] for name in shown}}
        if not request.POST.get("card") and "_page" not in request.POST:
            return (
                {"hint": gettext("Choose data: its rows stand here, and what the conditions say of them.")},
                None,
                None,
            )
        if card is None:
            return context, None, None
        data = self.preview_data(request, [card], now=now)
        table = data.tables[card.pk] if data.is_there else None
        if table is None or wrong:
            if table is not None and not shown:
                context["hint"] = gettext("Write a condition: it is tried on these rows.")
            return context, data, table
        trial = preview.tried(form.instance, table, language=get_language() or settings.LANGUAGE_CODE)
        context |= {"trial": trial, "problem": trial.problem, **self.drawn(request, trial.pictures, now=now)}
        return context, data, table

    def renamed_fields(self, request: HttpRequest) -> dict[str, str]:
        return changes(request.POST, renaming_in(request.POST))

    def _missing(self, request: HttpRequest, form: AlertRuleForm, data: DataPreview | None, table: Table | None) -> str:
        """What the rule names and the data does not have any more, with what it may be called today."""
        card, person = form.cleaned_data.get("card"), administrator(request)
        found: list[Missing] = []
        if card is not None and data is not None and card.pk in data.lost:
            found = [missing_card(CARD, str(card), person)]
        elif table is not None:
            found = missing_columns(columns_named(request.POST), {CARD: table}, {CARD: str(card)})
        return missing_part(request, found, is_rule=True)

    def changeable(self, request: HttpRequest, pk: int) -> AlertRule:
        rule = AlertRule.objects.visible_to(request.user).filter(pk=pk).first()
        if rule is None:
            raise Http404
        if not self.has_change_permission(request, rule):
            raise PermissionDenied
        return rule

    def _people_class(self, request: HttpRequest) -> type[RulePeopleForm]:
        people = RulePeople(AlertReceiver, self.admin_site)
        form: Any = people.get_form(request, None, form=RulePeopleForm, fields=RulePeopleForm.Meta.fields)
        return for_person(form, request, ["corp", "robot", "users", "groups", "departments"])  # type: ignore[no-any-return]  # the stubs know the class of the model alone


class RulePeople(RecipientsMixin):
    """Makes the fields of a rule's people as the admin makes them. It has no pages."""

    autocomplete_fields = ("users", "groups")
