"""With whose rights the picture of a page is taken: each recipient's, or the owner's where the owner alone wants it so.

The owner's end when somebody else edits a push that sends it, or changes the key of the robot to which it goes; then
the owner gets a notice.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.runs.notices import new_notice
from notifications.delivery.runs.recall import cancel_waiting
from notifications.models import PagePicture, Report, Robot, Run, Subscription
from notifications.sources import Content

if TYPE_CHECKING:
    from accounts.models import User

_KEY = "page-rights"


class NotTheOwnerError(Exception):
    """Somebody wants to show everybody what another person may see."""


def may_show_as(report: Report, person: User) -> bool:
    """Whether the person may have the page picture of the report shown to all as they see it themselves: they own each
    push that sends it. Of a report that nobody sends yet they will own the first."""
    if not person.is_active:
        return False
    return report.pk is None or not Subscription.objects.filter(report=report.pk).exclude(owner=person.pk).exists()


def consequence(person: User) -> str:
    """What it means to show it as this person, in whole sentences: for the choice, before it is made."""
    return _(
        "Every recipient sees the page as %(name)s sees it in the BI, with all rows that %(name)s may see: also who "
        "may see less there or has no account, and whoever joins a chosen department, group or chat later. It ends "
        "when somebody else edits the push, or the webhook address of the robot to which it goes."
    ) % {"name": person.get_full_name()}


def show_as_owner(picture: PagePicture, *, by: User) -> None:
    """From now on all recipients see it as `by` does. Saves. Raises NotTheOwnerError."""
    if not may_show_as(picture.report, by):
        raise NotTheOwnerError
    picture.shown_as, picture.ended_by, picture.ended_at = by, None, None
    picture.save(update_fields=_COLUMNS)


def show_as_recipients(picture: PagePicture) -> None:
    """From now on each recipient sees it with their own rights. Saves."""
    picture.shown_as, picture.ended_by, picture.ended_at = None, None, None
    picture.save(update_fields=_COLUMNS)


_COLUMNS = ("shown_as", "ended_by", "ended_at")


@transaction.atomic
def note_edit(report: Report, *, by: User | None, now: datetime) -> list[int]:
    """Somebody has edited a push that sends the report, or the report. Where its page is shown as another person sees
    it, that ends. Returns the run of the notice to that person, to be rendered after the transaction; where nobody does
    that, the engine renders it a little later. `by`: None where a push was handed over to another owner.

    Call it before what `by` chooses is saved: whoever is the owner may choose it anew in the same edit.
    """
    rows = PagePicture.objects.select_for_update(of=("self",)).filter(report=report.pk, shown_as__isnull=False)
    picture = rows.exclude(shown_as=by).first()
    if picture is None:
        return []
    owner_id = picture.shown_as_id
    picture.shown_as, picture.ended_by, picture.ended_at = None, by, now
    picture.save(update_fields=_COLUMNS)
    key = f"{_KEY}:{picture.pk}:{now:%Y%m%d%H%M%S%f}"
    notice = new_notice(key=key, person_id=owner_id, corp_id=report.corp_id, now=now)
    notice.save()
    return [notice.pk]


@transaction.atomic
def note_new_key(robot: Robot, *, by: User, now: datetime) -> list[int]:
    """End what goes to the robot as somebody else than `by` sees it: with another key it goes to another group. What
    waits is canceled. Returns the notices as `note_edit` does. Call it before the key is saved."""
    shown = Report.objects.filter(page_picture__shown_as__isnull=False, subscriptions__robot=robot)
    if reports := list(shown.exclude(page_picture__shown_as=by).distinct()):
        cancel_waiting(robot, reports, now=now)
    return [run_id for report in reports for run_id in note_edit(report, by=by, now=now)]


def content_of_notice(notice: Run) -> Content | None:
    """What tells the owner that a page is shown with each recipient's own rights again, and by whose edit: it names the
    pushes of the report that are the owner's. None for a notice of another kind."""
    kind, _colon, rest = notice.key.partition(":")
    if kind != _KEY:
        return None
    picture = PagePicture.objects.select_related("ended_by").filter(pk=rest.partition(":")[0]).first()
    pushes = Subscription.objects.filter(report__page_picture=picture, owner=notice.requested_by_id)
    owned = list(pushes.order_by("pk")) if picture is not None else []
    words = {
        "name": ", ".join(one.name for one in owned),
        "page": picture or "",
        "person": picture.ended_by.get_full_name() if picture is not None and picture.ended_by else _("somebody"),
    }
    text = _(
        "%(person)s has edited the push “%(name)s”, or the robot to which it goes. Its picture of the page “%(page)s” "
        "is no longer shown as you see it: each recipient now gets it with their own rights in the BI, and whoever has "
        "no account there gets no message. To share what you see again, open the push and choose it anew."
    )
    link = reverse("admin:notifications_subscription_change", args=[owned[0].pk]) if owned else ""
    title = _("Your page picture is no longer shown as you see it")
    return Content(tidy_title(title), tidy_text(text % words), link=link)
