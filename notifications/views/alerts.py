"""Alert pages for employees: list, timeline, actions."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from integrations.core.background import database_now
from notifications.alerts import actions, charts, selectors
from notifications.alerts.actions import Action
from notifications.views.inbox import sign_in_url, signed_in
from notifications.views.media import made_answer

# What may be done here. Closing is for the administration.
_SAID = {
    Action.ACKNOWLEDGE: _("You have taken it. Everybody who was told sees that."),
    Action.TAKE_OVER: _("You have taken it over. Everybody who was told sees that."),
    Action.SILENCE: _("Silent for an hour. If it lasts, you are reminded then."),
    Action.END_SILENCE: _("The silence is over: people are reminded again."),
}
_NOTHING = _("Nothing to do: somebody was faster, or it is over.")


@require_safe
@never_cache
def alerts(request: HttpRequest) -> HttpResponse:
    """What is open and concerns me, and what was lately."""
    if not request.user.is_authenticated:
        return redirect(sign_in_url(request.GET.get("m", ""), reverse("alerts")))
    found = selectors.incidents_of(signed_in(request.user), now=timezone.now())
    context = {
        "open_ones": [one for one in found.incidents if one.incident.is_open],
        "over": [one for one in found.incidents if not one.incident.is_open],
        "listed_at_most": selectors.LISTED_AT_MOST if found.is_cut else None,
    }
    return render(request, "notifications/alerts.html", context)


@require_safe
@never_cache
def alert(request: HttpRequest, pk: int) -> HttpResponse:
    """One alert: for those who are told of it, and administrators of its company."""
    if not request.user.is_authenticated:
        return redirect(sign_in_url(request.GET.get("m", ""), reverse("alert", args=[pk])))
    person, now = signed_in(request.user), database_now()
    incident = selectors.incident_for(person, pk)
    if incident is None:
        return render(request, "notifications/not_yours.html", status=404)
    context = {
        "shown": selectors.shown(incident, person=person, now=now),
        "pictures": charts.shown(incident, person=person, now=now),
        "incident": incident,
        "labels": list(incident.labels.items()),
        "timeline": selectors.timeline(incident),
    }
    return render(request, "notifications/alert.html", context)


@require_safe
@login_required
def picture(request: HttpRequest, pk: int, picture: int, extension: str) -> HttpResponse:
    """A picture (svg or png) of an alert's data, for those who may see it at this moment."""
    person = signed_in(request.user)
    incident = selectors.incident_for(person, pk)
    medium = None if incident is None else charts.picture_of(incident, picture, person=person)
    return made_answer(medium, extension)


@require_POST
@never_cache
@login_required
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Take it, take it over, silence it, or end its silence."""
    action = request.POST.get("action")
    if action not in _SAID:
        return HttpResponseBadRequest()
    action = Action(action)
    done = actions.act(action, [pk], person=signed_in(request.user), now=database_now())
    if done.changed:
        messages.success(request, _SAID[action])
    elif done.unchanged:
        messages.info(request, _NOTHING)
    else:
        raise Http404
    return redirect("alert", pk)
