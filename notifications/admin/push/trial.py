"""Trials of a push, which are sent to one person: who may get one, and its outcome on the page of the push."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.sites import AdminSite
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.forms import BoundField, Form, ModelChoiceField
from django.http import HttpRequest
from django.template.loader import render_to_string

from accounts.models import User
from accounts.users.roles import find_visible_people
from notifications.admin.log import explain_held_up
from notifications.delivery.explanations import explain_receipt
from notifications.delivery.rendering import report_contents
from notifications.models import Delivery, Receipt, Run, Subscription

# The submitted value that names the person, and the parameter of the page's URL that names the run of the trial.
TRY_ON = "try_on"
TRIED = "tried"


def find_viewable_people(by: User) -> QuerySet[User]:
    """Return the people whose view of a message `by` may see, and to whom `by` may send a trial."""
    return find_visible_people(by) | User.objects.filter(pk=by.pk)


def make_person_field(by: User, site: AdminSite, name: str, auto_id: str, attrs: dict[str, str]) -> BoundField:
    """Return a select with search over `find_viewable_people(by)`, with `by` chosen."""
    field: Any = Subscription._meta.get_field("users")
    form = Form(auto_id=auto_id, initial={name: by})
    form.fields[name] = ModelChoiceField(find_viewable_people(by), widget=AutocompleteSelect(field, site, attrs=attrs))
    return form[name]


def find_trials(request: HttpRequest, subscription: Subscription) -> QuerySet[Run]:
    """Return the trials of a push whose outcome the administrator may see."""
    trials = Run.objects.visible_to(request.user).filter(subscription=subscription, trigger=Run.Trigger.TRIAL)
    return trials.select_related("requested_by", "tried_on")


def render_trial(request: HttpRequest, run: Run) -> dict[str, Any]:
    """Return the outcome of a trial as HTML, and whether it is still under way."""
    receipt = Receipt.objects.filter(run=run).select_related("delivery__corp").order_by("pk").first()
    delivery = None if receipt is None else receipt.delivery
    is_unfinished = run.status in {Run.Status.WAITING, Run.Status.SENDING}
    context: dict[str, Any] = {"run": run, "person": run.tried_on or run.requested_by, "is_unfinished": is_unfinished}
    if is_unfinished:
        problem = report_contents.find_problem_so_far(run) if run.status == Run.Status.WAITING else None
        context["reason"] = str(problem or " ".join(explain_held_up(request, run.deliveries.all())))
    elif receipt is not None and not receipt.status and delivery is not None:  # empty: the delivery's holds
        context["arrived_at"] = delivery.settled_at if delivery.status == Delivery.Status.ACCEPTED else None
    if not is_unfinished and not context.get("arrived_at"):
        context["explanation"] = None if receipt is None else explain_receipt(receipt)
        context["reason"] = run.error_text if receipt is None else receipt.reason_text
    html = render_to_string("admin/notifications/subscription/_tried.html", context, request)
    return {"html": html, "is_unfinished": is_unfinished}
