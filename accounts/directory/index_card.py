"""What the admin's index says of the directory: on each company's card, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db.models import Count, Max
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import LinkConflict
from integrations.models import Corp, EventWork, SyncRun
from integrations.panels import Attention, Line

if TYPE_CHECKING:
    from django.http import HttpRequest


def directory_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """When the directory was last synchronised. One query."""
    if not request.user.has_perm("integrations.view_syncrun"):
        return {}
    done = SyncRun.objects.filter(corp__in=[corp.pk for corp in corps], status=SyncRun.Status.DONE)
    last = dict(done.order_by().values_list("corp").annotate(Max("finished_at")))
    moments = {pk: f"{timezone.localtime(at):%Y-%m-%d %H:%M}" for pk, at in last.items()}
    return {pk: [Line(_("Directory synchronised"), moment)] for pk, moment in moments.items()}


def directory_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Runs that wait for an answer or stopped, events that were given up, people who are not linked. Three queries."""
    names = {corp.pk: corp.name for corp in corps}
    found = []
    if request.user.has_perm("integrations.view_syncrun"):
        found += _about_runs(names)
        found += _about_events(names)
    if request.user.has_perm("accounts.view_linkconflict"):
        found += _about_people(names)
    return found


def _about_runs(names: dict[int, str]) -> list[Attention]:
    of_corps = SyncRun.objects.filter(corp__in=list(names)).order_by().values("corp")
    newest = of_corps.annotate(newest=Max("pk")).values("newest")
    asks = _("The directory of “%(corp)s” would take access from many: a run waits for your answer.")
    stopped = _("The last synchronisation of the directory of “%(corp)s” stopped.")
    sentences = {SyncRun.Status.ASKING: (asks, "bad"), SyncRun.Status.FAILED: (stopped, "warn")}
    found = []
    for run in SyncRun.objects.filter(pk__in=newest, status__in=list(sentences)).order_by("pk"):
        sentence, tone = sentences[SyncRun.Status(run.status)]
        url = reverse("admin:integrations_syncrun_change", args=[run.pk])
        found.append(Attention(sentence % {"corp": names[run.corp_id]}, url, tone))
    return found


def _about_events(names: dict[int, str]) -> list[Attention]:
    works = EventWork.objects.given_up().filter(corp__in=list(names))
    found = []
    for corp_id, count in works.order_by().values_list("corp").annotate(Count("pk")):
        sentence = ngettext(
            "“%(corp)s”: %(count)s event about people was given up.",
            "“%(corp)s”: %(count)s events about people were given up.",
            count,
        )
        url = reverse("admin:integrations_syncrun_start", args=[corp_id])
        found.append(Attention(sentence % {"corp": names[corp_id], "count": f"{count:,}"}, url, "bad"))
    return found


def _about_people(names: dict[int, str]) -> list[Attention]:
    """Of companies whose policy is in force: elsewhere nobody expects them to be linked."""
    waiting = LinkConflict.objects.filter(member__corp__in=list(names)).in_force()
    found = []
    for corp_id, count in waiting.order_by().values_list("member__corp").annotate(Count("pk")):
        sentence = ngettext(
            "“%(corp)s”: %(count)s member is not linked with anybody here.",
            "“%(corp)s”: %(count)s members are not linked with anybody here.",
            count,
        )
        url = f"{reverse('admin:accounts_linkconflict_changelist')}?{urlencode({'company': corp_id})}"
        found.append(Attention(sentence % {"corp": names[corp_id], "count": f"{count:,}"}, url, "warn"))
    return found
