"""Facts about the directory for the start page of the administration: lines of companies, and warnings."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Count, Max, OuterRef, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import LinkConflict
from integrations.core.hooks import Attention, Line
from integrations.models import CallbackEvent, Corp, SyncRun

# The permission to start a synchronisation.
SYNC_PERMISSION = "integrations.sync_directory"


def list_directory_lines(request: HttpRequest, corps: Sequence[Corp]) -> dict[int, list[Line]]:
    """Return a line with the time of the last directory sync for each company. One query."""
    if not request.user.has_perm("integrations.view_syncrun"):
        return {}
    done = SyncRun.objects.filter(corp__in=[corp.pk for corp in corps], status=SyncRun.Status.DONE)
    last = dict(done.order_by().values_list("corp").annotate(Max("finished_at")))
    moments = {pk: f"{timezone.localtime(at):%Y-%m-%d %H:%M}" for pk, at in last.items()}
    return {pk: [Line(_("Directory synchronised"), moment)] for pk, moment in moments.items()}


def list_directory_attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """List warnings: runs that wait for an answer or stopped, events given up, and members not linked. Two queries."""
    names = {corp.pk: corp.name for corp in corps}
    attentions = []
    if request.user.has_perm("integrations.view_syncrun"):
        newest = SyncRun.objects.filter(corp=OuterRef("pk")).order_by("-pk")
        events = CallbackEvent.objects.given_up().filter(corp=OuterRef("pk")).order_by().values("corp")
        annotated = Corp.objects.filter(pk__in=list(names)).annotate(
            run=Subquery(newest.values("pk")[:1]),
            run_status=Subquery(newest.values("status")[:1]),
            given_up=Subquery(events.annotate(count=Count("pk")).values("count")),
        )
        sentences = {
            SyncRun.Status.ASKING: (
                _("The directory of “%(corp)s” would end the access of many people: a run waits for your answer."),
                "bad",
            ),
            SyncRun.Status.FAILED: (_("The last synchronisation of the directory of “%(corp)s” stopped."), "warn"),
        }
        for pk, run, status, count in annotated.order_by("pk").values_list("pk", "run", "run_status", "given_up"):
            if status in sentences:
                sentence, tone = sentences[status]
                url = reverse("admin:integrations_syncrun_change", args=[run])
                attentions.append(Attention(sentence % {"corp": names[pk]}, url, tone))
            if count:
                sentence = ngettext(
                    "“%(corp)s”: %(count)s event about people was given up.",
                    "“%(corp)s”: %(count)s events about people were given up.",
                    count,
                )
                url = reverse("admin:integrations_syncrun_start", args=[pk])
                attentions.append(Attention(sentence % {"corp": names[pk], "count": f"{count:,}"}, url, "bad"))
    if not request.user.has_perm("accounts.view_linkconflict"):
        return attentions
    # Only companies whose policy is on: elsewhere members are not linked anyway.
    unlinked = LinkConflict.objects.filter(member__corp__in=list(names)).in_force()
    for corp_id, count in unlinked.order_by().values_list("member__corp").annotate(Count("pk")):
        sentence = ngettext(
            "“%(corp)s”: %(count)s member is not linked with anybody here.",
            "“%(corp)s”: %(count)s members are not linked with anybody here.",
            count,
        )
        url = f"{reverse('admin:accounts_linkconflict_changelist')}?{urlencode({'company': corp_id})}"
        attentions.append(Attention(sentence % {"corp": names[corp_id], "count": f"{count:,}"}, url, "warn"))
    return attentions
