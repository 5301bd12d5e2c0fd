"""A push sent to one person to look at it: to whom it may go, and its outcome, live on the page of the push."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.forms import BoundField, Form, ModelChoiceField
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext

from accounts.models import User
from accounts.users.roles import people_visible_to
from notifications.admin.base import administrator, is_key
from notifications.admin.log import explain_held_up
from notifications.delivery.explanations import explain_receipt
from notifications.delivery.rendering import report_contents
from notifications.models import Delivery, Receipt, Run, Subscription

TRY_ON = "try_on"
TRIED = "tried"


def find_viewable_people(by: User) -> QuerySet[User]:
    """Return the people whose view of a message `by` may see, and to whom `by` may send a trial."""
    return people_visible_to(by) | User.objects.filter(pk=by.pk)


def make_person_field(by: User, site: AdminSite, name: str, auto_id: str, attrs: dict[str, str]) -> BoundField:
    """Return a searching select of the people whom `by` sees, with `by` chosen."""
    field: Any = Subscription._meta.get_field("users")
    form = Form(auto_id=auto_id, initial={name: by})
    form.fields[name] = ModelChoiceField(find_viewable_people(by), widget=AutocompleteSelect(field, site, attrs=attrs))
    return form[name]


def read_tried_person(request: HttpRequest) -> User | None:
    """Return the person to whom a submitted page sends a trial: oneself if nobody is named. None for somebody whom the
    administrator does not see."""
    by, key = administrator(request), request.POST.get(TRY_ON, "")
    if not key:
        return by
    return find_viewable_people(by).filter(pk=int(key)).first() if is_key(key) else None


def explain_unreachable(request: HttpRequest, person: User, reason: str) -> str:
    """Say why the trial cannot reach the person, with a link to their page if the administrator may open it."""
    if person == request.user:
        message = gettext("You cannot be reached yourself: %(reason)s. This is set on your own page under Users.")
    else:
        message = gettext("%(person)s cannot be reached: %(reason)s.")
    text = message % {"person": person, "reason": reason}
    if person != request.user and not request.user.has_perm("accounts.view_user"):
        return text
    return format_html('<a href="{}">{}</a>', reverse("admin:accounts_user_change", args=[person.pk]), text)


def find_trials(request: HttpRequest, subscription: Subscription) -> QuerySet[Run]:
    """Return the trials of a push whose outcome the administrator may see."""
    trials = Run.objects.visible_to(request.user).filter(subscription=subscription, trigger=Run.Trigger.TRIAL)
    return trials.select_related("requested_by", "tried_on")


def find_shown_trial(request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
    """Return the trial that the page's address names: its `state` and `state_url` for _live.html; empty without one."""
    key = request.GET.get(TRIED, "")
    run = find_trials(request, subscription).filter(pk=int(key)).first() if is_key(key) else None
    if run is None:
        return {}
    url = reverse("admin:notifications_subscription_trial", args=[subscription.pk, run.pk])
    return {"state": render_trial(request, run), "state_url": url}


def render_trial(request: HttpRequest, run: Run) -> dict[str, Any]:
    """Return the outcome of a trial as HTML, and whether it is still under way."""
    receipt = Receipt.objects.filter(run=run).select_related("delivery__corp").order_by("pk").first()
    delivery = None if receipt is None else receipt.delivery
    is_unfinished = run.status in {Run.Status.WAITING, Run.Status.SENDING}
    context: dict[str, Any] = {"run": run, "person": run.tried_on or run.requested_by, "is_unfinished": is_unfinished}
    if is_unfinished:
        problem = report_contents.find_problem_so_far(run) if run.status == Run.Status.WAITING else None
        context["reason"] = str(problem or " ".join(explain_held_up(request, run.deliveries.all())))
    elif receipt is not None and not receipt.status and delivery is not None:
        context["arrived_at"] = delivery.settled_at if delivery.status == Delivery.Status.ACCEPTED else None
    if not is_unfinished and not context.get("arrived_at"):
        said = None if receipt is None else explain_receipt(receipt)
        context["said"], context["reason"] = said, run.error_text if receipt is None else receipt.reason_text
    html = render_to_string("admin/notifications/subscription/_tried.html", context, request)
    return {"html": html, "is_unfinished": is_unfinished}
