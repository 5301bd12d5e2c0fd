"""Previews of an unsaved form: whose view may be chosen, over which data, and the progress of data and media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.forms import BoundField, Form, ModelChoiceField
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.users.roles import people_visible_to
from integrations.core.admin_pages import AnyModelAdmin
from integrations.core.sentences import Sentence
from integrations.data.table import Table
from integrations.datasources import fetch
from integrations.datasources.fetch import DataPreview
from integrations.models import Card
from notifications import tasks
from notifications.admin import subscription_forms
from notifications.admin.base import administrator, is_key
from notifications.delivery.rendering.attachments import Plan, pages_for_editor
from notifications.delivery.rendering.preview import begin_media, preview_message
from notifications.delivery.rendering.report_contents import ReportParts, SubscriptionSource, read_saved_parts
from notifications.models import Channel, Robot, Run, Subscription
from notifications.reports.contents import paginate_tables
from notifications.reports.templates import merge_fields
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Reachability, Recipient, find_recipients, trial_audience

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.admin.push.form import Missing

ROWS_SHOWN, SAMPLE_ROWS = 20, 8
FOLDER = "admin/notifications/subscription"


class PreviewRefusedError(Exception):
    """Raised if there is nothing to preview; the text is a sentence that says why."""


@dataclass(frozen=True)
class PushDraft:
    """A push as submitted by a form. `problem`: why it has no message, whatever the data."""

    subscription: Subscription
    parts: ReportParts
    problem: str = ""

    @property
    def cards(self) -> list[Card]:
        """The cards whose data is needed, without duplicates."""
        return list({card.card_id: card.card for card in self.parts.cards}.values())

    def for_reader(self, by: User) -> PushDraft:
        """Return the draft without cards and with a problem if `by` may not see one of them, even one saved earlier."""
        keys = {card.card_id for card in self.parts.cards}
        seen = set(Card.objects.visible_to(by).filter(pk__in=keys).values_list("pk", flat=True)) if keys else keys
        hidden = [card.alias for card in self.parts.cards if card.card_id not in seen]
        if not hidden:
            return self
        problem = _("You may not look into the card “%(card)s”.") % {"card": hidden[0]}
        return replace(self, parts=replace(self.parts, cards=()), problem=problem)


def render_draft(
    draft: PushDraft, tables: dict[str, Table], *, by: User, person: User | None, at: datetime
) -> dict[str, Any]:
    """Render a push as if due at `at`, for `person` or for nobody in particular. Return the template's context. `by`:
    the viewer, whose own BI account is used for BI pages. Raises RenderingError."""
    order, parts, pages, page_problem = draft.subscription, draft.parts, None, ""
    if parts.picture is not None:
        try:
            pages = pages_for_editor(parts.picture, by, at)
        except RenderingError as error:
            page_problem = str(error)
    to: Recipient | Robot | None = order.robot if order.channel == Channel.ROBOT else None
    if to is None and person is not None:
        [to] = find_recipients(trial_audience(order, person.pk), None)
    elif to is None and parts.own_rows:
        raise RenderingError(Sentence("Each person sees rows of their own: choose as whom to look."))
    run = Run(subscription=order, trigger=Run.Trigger.SCHEDULE, slot_at=at)
    source = SubscriptionSource(run, order, parts, tables, pages)
    found = preview_message(source, run, to, now=at)
    if found.content is None:
        sentence = Sentence(
            "%(person)s sees none of these rows. Look as somebody else, or give the person a value of the attribute."
        )
        raise RenderingError(sentence % {"person": str(person)})
    with timezone.override(ZoneInfo(order.time_zone)):
        shown = paginate_tables(found.content, ROWS_SHOWN)
    return {
        "found": found,
        "preview": found.phone,
        "tables": shown,
        "person": person if parts.own_rows else None,
        "rows_seen": sum(len(table.rows) for table in found.content.tables.values()),
        "rows_there": sum(len(table.rows) for table in tables.values()),
        "unreachable": to.reason_text if isinstance(to, Recipient) else "",
        "skipped": source.find_reason_to_skip(tables) or "",
        "has_page": pages is not None,
        "page_problem": page_problem,
    }


def render_saved(subscription: Subscription, *, by: User, now: datetime) -> dict[str, Any]:
    """Render a saved push over the last fetched data for nobody in particular. Own rows are not shown, since people who
    may see a push may not see everybody's rows."""
    parts = read_saved_parts(subscription.report)
    tables = parts.find_latest_tables()
    if parts.own_rows:
        return {"problem": _("Each person gets rows of their own. The report's page shows it as any person.")}
    if len(tables) < len({card.alias for card in parts.cards}):
        return {"problem": _("No data was fetched yet. The report's page shows it over real data.")}
    try:
        return render_draft(PushDraft(subscription, parts), tables, by=by, person=None, at=now)
    except RenderingError as error:
        return {"problem": str(error)}


# --- Chosen person and time -------------------------------------------------------------------------------------------


def looked_at_as(by: User) -> QuerySet[User]:
    """Return the people whose view of a message `by` may see."""
    return people_visible_to(by) | User.objects.filter(pk=by.pk)


def person_chooser(name: str, site: AdminSite, by: User, *, chosen: User | None) -> BoundField:
    """Return an autocomplete select for the person whose view is shown."""
    field: Any = Subscription._meta.get_field("users")
    widget = AutocompleteSelect(field, site, attrs={"data-as": ""})
    form = Form(auto_id="preview-%s", initial={name: chosen})
    form.fields[name] = ModelChoiceField(looked_at_as(by), widget=widget, required=chosen is not None)
    return form[name]


def find_person(key: str, by: User) -> User | None:
    """Return the person with this key, or None for an empty key. Raises PreviewRefusedError if there is no such person
    or `by` may not see the person's messages."""
    if not key:
        return None
    person = looked_at_as(by).filter(pk=int(key)).first() if is_key(key) else None
    if person is None:
        raise PreviewRefusedError(_("Nobody whom you see is “%(typed)s”.") % {"typed": key})
    return person


def read_moment(typed: str, now: datetime, time_zone: str) -> datetime:
    """Parse a time such as 2026-11-28 09:00 in the time zone; empty means `now`. Raises PreviewRefusedError."""
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=ZoneInfo(time_zone)) if typed else now
    except ValueError:
        raise PreviewRefusedError(_("Write the time as 2026-11-28 09:00.")) from None


# --- Panels beside a form ---------------------------------------------------------------------------------------------


def show_sample(request: HttpRequest, tables: Mapping[str, Table], data: DataPreview | None) -> str:
    """Render the first rows of each table, by heading, or the progress of fetching them."""
    shown = [
        {"heading": heading, "table": table, "rows": table.rows[:SAMPLE_ROWS], "count": len(table.rows)}
        for heading, table in tables.items()
    ]
    return render_to_string(f"{FOLDER}/_rows.html", {"tables": shown, "waiting": data}, request)


def show_outlook(
    request: HttpRequest,
    reach: Reachability | None,
    times: Mapping[str, Any],
    *,
    is_rule: bool = False,
    message: Mapping[str, Any] | None = None,
) -> SafeString:
    """Render the recipients and next times, and below them `message` if given."""
    may_open = request.user.has_perm("accounts.view_user")
    context = {
        **times,
        "found": reach,
        "is_rule": is_rule,
        "message": message,
        "unreachable_lines": subscription_forms.unreachable_lines(reach, may_open=may_open) if reach else [],
        "department_lines": subscription_forms.about_departments(reach) if reach else [],
    }
    return render_to_string(f"{FOLDER}/_reach.html", context, request)


def show_missing(request: HttpRequest, found: Sequence[Missing], *, is_rule: bool = False) -> str:
    """Render the missing columns and cards with selects for their replacements."""
    return render_to_string(f"{FOLDER}/_missing.html", {"missing": found, "is_rule": is_rule}, request)


def read_template(source: str, headings: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Split a template into texts and merge fields; None if only its source can be edited."""
    parts = merge_fields.parts_of(source.replace("\r\n", "\n"), headings)
    if parts is None:
        return None
    return [{"text": part} if isinstance(part, str) else asdict(part) for part in parts]


class PreviewMixin(AnyModelAdmin):
    """Adds a preview of the submitted form over card data, for pushes, reports and alert rules. `preview_path`,
    `preview_name`: URL of the view. `preview_template`: template of the message."""

    preview_path: str
    preview_name: str
    preview_template: str

    def get_urls(self) -> list[URLPattern]:
        view: Callable[..., HttpResponse] = self.admin_site.admin_view(require_POST(self.preview_view))
        return [path(self.preview_path, view, name=self.preview_name), *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the preview of the submitted form by `answer_preview`. Must not save anything."""
        raise NotImplementedError

    def check_may_preview(self, request: HttpRequest) -> None:
        """Raise PermissionDenied if the person may neither add nor change such rows."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied

    def read_data(self, request: HttpRequest, cards: Sequence[Card], *, now: datetime) -> DataPreview | None:
        """Return the progress of fetching the cards' data, or None without cards. The first request starts it. The
        caller checks that the person may see the cards."""
        if not cards:
            return None
        token = request.POST.get("_token") or fetch.request_preview(cards, now=now)
        return fetch.read_preview(token, cards, now=now)

    def show_draft(
        self, request: HttpRequest, draft: PushDraft, data: DataPreview | None, person: User | None, at: datetime
    ) -> dict[str, Any]:
        """Return the context for the message of a draft, or for its problem. The caller checks that the person may see
        its cards."""
        if draft.problem or (data is not None and (data.token or data.problem)):
            return {"problem": draft.problem}
        tables = {} if data is None else {card.alias: data.tables[card.card_id] for card in draft.parts.cards}
        try:
            context = render_draft(draft, tables, by=administrator(request), person=person, at=at)
        except RenderingError as error:
            return {"problem": str(error)}
        return {**context, **self.begin_media(request, context["found"].media, now=timezone.now())}

    def begin_media(self, request: HttpRequest, plan: Plan, *, now: datetime) -> dict[str, Any]:
        """Start drawing the pictures and files of the plan. Return the context to show them."""
        drawings = begin_media(plan, by=administrator(request), now=now)
        if drawings is None:
            return {"is_busy": True}
        tasks.enqueue_previews(drawings.medium_ids)
        return {"drawings": drawings, "carried": drawings.carried}

    def answer_preview(
        self, request: HttpRequest, data: DataPreview | None, context: Mapping[str, Any], **further: Any
    ) -> HttpResponse:
        """Return the JSON answer. While it has a `token`, the page asks again."""
        token, problem = (data.token, data.problem) if data is not None else ("", "")
        shown = {"waiting": data if token else None, **context, "problem": context.get("problem") or problem}
        return JsonResponse(
            {
                "token": token,
                "waiting": (data.hindrance or _("The data is being fetched…")) if data is not None and token else "",
                "is_lost": bool(problem),
                "message": render_to_string(self.preview_template, shown, request),
                **further,
            }
        )
