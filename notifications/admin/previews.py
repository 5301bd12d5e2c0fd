"""Previews of what a page of the administration has typed: who may look at what as whom, over which data, and how far
its data, pictures and files are."""

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
from notifications.reports.contents import shown_tables
from notifications.reports.templates import merge_fields
from notifications.sources import RenderingError
from notifications.subscriptions.recipients import Reachability, Recipient, find_recipients, trial_audience

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from notifications.admin.push.form import Missing

ROWS_SHOWN, SAMPLE_ROWS = 20, 8
FOLDER = "admin/notifications/subscription"


class PreviewRefusedError(Exception):
    """There is nothing to show; the text is a sentence that says why."""


@dataclass(frozen=True)
class PushDraft:
    """A push as its page stands. `problem`: why there is no message of it, whatever its data says."""

    subscription: Subscription
    parts: ReportParts
    problem: str = ""

    @property
    def cards(self) -> list[Card]:
        """Each once, whose data is needed."""
        return list({card.card_id: card.card for card in self.parts.cards}.values())

    def for_reader(self, by: User) -> PushDraft:
        """Return it without any card where it has one that `by` may not see, also one that was saved before."""
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
    """Render a push as if it were due at `at`, for a person, or for nobody in particular. `by`: who looks, with whose
    own account a page of the BI is seen. Returns what the template shows. Raises RenderingError."""
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
        shown = shown_tables(found.content, ROWS_SHOWN)
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
    """Render a saved push over the data that was fetched last, for nobody in particular. Own rows are not shown:
    whoever may see a push need not see everybody's."""
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


# --- As whom, and when ------------------------------------------------------------------------------------------------


def looked_at_as(by: User) -> QuerySet[User]:
    """As whom `by` may look at a message."""
    return people_visible_to(by) | User.objects.filter(pk=by.pk)


def person_chooser(name: str, site: AdminSite, by: User, *, chosen: User | None) -> BoundField:
    """As whom a page looks: a searching select of Django's admin."""
    field: Any = Subscription._meta.get_field("users")
    widget = AutocompleteSelect(field, site, attrs={"data-as": ""})
    form = Form(auto_id="preview-%s", initial={name: chosen})
    form.fields[name] = ModelChoiceField(looked_at_as(by), widget=widget, required=chosen is not None)
    return form[name]


def find_person(key: str, by: User) -> User | None:
    """Find whom a page names by key, of those as whom `by` may look; None where it names nobody. Raises
    PreviewRefusedError."""
    if not key:
        return None
    person = looked_at_as(by).filter(pk=int(key)).first() if is_key(key) else None
    if person is None:
        raise PreviewRefusedError(_("Nobody whom you see is “%(typed)s”.") % {"typed": key})
    return person


def read_moment(typed: str, now: datetime, time_zone: str) -> datetime:
    """Read a time such as 2026-11-28 09:00 in the zone; now, where there is none. Raises PreviewRefusedError."""
    try:
        return datetime.fromisoformat(typed).replace(tzinfo=ZoneInfo(time_zone)) if typed else now
    except ValueError:
        raise PreviewRefusedError(_("Write the time as 2026-11-28 09:00.")) from None


# --- What stands beside a form ----------------------------------------------------------------------------------------


def show_sample(request: HttpRequest, tables: Mapping[str, Table], data: DataPreview | None) -> str:
    """Show the first rows of each table, by its heading, as the source gives them; or how far they are."""
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
    """Show the people and the next times. `message`: shown below them, where it is given."""
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
    """Show what the data does not have any more, each with its mapping."""
    return render_to_string(f"{FOLDER}/_missing.html", {"missing": found, "is_rule": is_rule}, request)


def read_template(source: str, headings: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Read the texts and merge fields of a template; None where it can be written by hand alone."""
    parts = merge_fields.parts_of(source.replace("\r\n", "\n"), headings)
    if parts is None:
        return None
    return [{"text": part} if isinstance(part, str) else asdict(part) for part in parts]


class PreviewMixin(AnyModelAdmin):
    """For a ModelAdmin whose form is previewed as it stands, over the data of cards: a push, a report, an alert rule.

    `preview_path` and `preview_name`: of the view. `preview_template`: what the page shows.
    """

    preview_path: str
    preview_name: str
    preview_template: str

    def get_urls(self) -> list[URLPattern]:
        view: Callable[..., HttpResponse] = self.admin_site.admin_view(require_POST(self.preview_view))
        return [path(self.preview_path, view, name=self.preview_name), *super().get_urls()]

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """The form as it stands; nothing is saved. Answers by `answer_preview`."""
        raise NotImplementedError

    def check_may_preview(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for whoever may not fill in the form."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied

    def read_data(self, request: HttpRequest, cards: Sequence[Card], *, now: datetime) -> DataPreview | None:
        """How far the data of the cards is, which the person must be allowed to see; None where there are none. The
        first request has it fetched."""
        if not cards:
            return None
        token = request.POST.get("_token") or fetch.request_preview(cards, now=now)
        return fetch.read_preview(token, cards, now=now)

    def show_draft(
        self, request: HttpRequest, draft: PushDraft, data: DataPreview | None, person: User | None, at: datetime
    ) -> dict[str, Any]:
        """For the template: the message of a draft whose cards the person may see, or why there is none."""
        if draft.problem or (data is not None and (data.token or data.problem)):
            return {"problem": draft.problem}
        tables = {} if data is None else {card.alias: data.tables[card.card_id] for card in draft.parts.cards}
        try:
            context = render_draft(draft, tables, by=administrator(request), person=person, at=at)
        except RenderingError as error:
            return {"problem": str(error)}
        return {**context, **self.begin_media(request, context["found"].media, now=timezone.now())}

    def begin_media(self, request: HttpRequest, plan: Plan, *, now: datetime) -> dict[str, Any]:
        """For the template: the pictures and files of the plan, which are being made meanwhile."""
        drawings = begin_media(plan, by=administrator(request), now=now)
        if drawings is None:
            return {"is_busy": True}
        tasks.enqueue_previews(drawings.medium_ids)
        return {"drawings": drawings, "carried": drawings.carried}

    def answer_preview(
        self, request: HttpRequest, data: DataPreview | None, context: Mapping[str, Any], **further: Any
    ) -> HttpResponse:
        """The answer to the page, which asks again while there is a `token`: a `message`, what the page is `waiting`
        for, and what it shows beside."""
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
