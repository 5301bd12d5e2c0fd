"""What people own, who may take it over, and who is told that an owner can no longer act.

A token and a channel act with their owner's rights. So they are handed over by somebody who may see them, and only to
that person or to one whose rights that person may change: nobody gets at rights that they could not give themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _

from accounts.models import User, WeComAccount, barred_by_wecom
from accounts.users.contacts import holders_of
from accounts.users.scopes import people_changeable_by, rights_changeable_by, sees_all_corps
from integrations.core.hooks import Attention
from integrations.models import Corp
from notifications.delivery.rendering.message_builder import tidy_text, tidy_title
from notifications.delivery.runs import page_rights
from notifications.delivery.runs.notices import new_notice
from notifications.models import AlertRule, ApiToken, InboundChannel, Run, Subscription
from notifications.models.inbound import senders
from notifications.sources import Content

# The first two do nothing once their owner may not act. Of the others nobody hears what goes wrong.
MODELS: tuple[Any, ...] = (ApiToken, InboundChannel, Subscription, AlertRule)
ACTING = (ApiToken, InboundChannel)
NAMED_AT_MOST = 5
EXPIRY_NOTICE = timedelta(days=14)


def owned_by(owner: User, editor: User) -> list[tuple[str, str, str]]:
    """Key, name and page of what works for `owner`, as far as `editor` may hand it over."""
    rows = _working(Q(owner=owner), now=timezone.now(), seen_by=editor)
    return [(_key(row), _name(row), _page(row)) for row in rows]


def owner_line(row: Any, viewer: User) -> str:
    """Who owns `row`, with the way to where `viewer` can hand it over, if that is possible."""
    if row.owner is None:
        return _("nobody")
    may_open = viewer.has_perm("accounts.change_user") and people_changeable_by(viewer).filter(pk=row.owner_id).exists()
    if not may_open or not _working(Q(pk=row.pk), now=timezone.now(), seen_by=viewer, models=[type(row)]):
        return str(row.owner)
    return format_html('{} · <a href="{}">{}</a>', row.owner, _owner_page(row.owner), _("Hand it over"))


def objections_to(owner: User, keys: Collection[str], successor: User, editor: User) -> list[str]:
    """Why `successor` may not take over what is named by `keys`, in whole sentences."""
    is_theirs = successor == editor or rights_changeable_by(editor).filter(pk=successor.pk).exists()
    if not (is_theirs and successor.is_active and successor.is_staff):
        return [_("You may not have %(person)s take something over.") % {"person": successor}]
    may_send = senders().filter(pk=successor.pk).exists()
    found = []
    for row in _choose_rows(owner, keys, editor):
        words = {"person": successor, "name": _name(row)}
        if (isinstance(row, InboundChannel) or getattr(row, "may_send", False)) and not may_send:
            found.append(_("%(person)s may not send messages, and %(name)s does.") % words)
        elif not _is_within(row, successor):
            found.append(_("%(name)s reaches further than the companies of %(person)s.") % words)
    return found


def hand_over(owner: User, keys: Collection[str], successor: User, editor: User) -> int:
    """Make `successor` the owner of what is named by `keys`, to which `objections_to` has none. Returns of how much."""
    rows = _choose_rows(owner, keys, editor)
    for row in rows:
        if isinstance(row, Subscription):
            # Also what the editor had shown: the recipients of this push were chosen by somebody else.
            page_rights.note_edit(row.report, by=None, now=timezone.now())
        row.owner = successor
        row.save(update_fields=["owner"])
    return len(rows)


def attentions(person: User, now: datetime) -> list[Attention]:
    """List what lost its owner or soon does, and tokens that expire soon. Two queries, four more if there is any."""
    found = []
    for owner, rows in _find_forsaken(now=now, seen_by=person).items():
        url = _owner_page(owner) if person.has_perm("accounts.change_user") else _page(rows[0])
        found.append(Attention(_sentence(owner, rows), url, "warn" if _may_act(owner) else "bad"))
    expiring = _working(Q(expires_at__lte=now + EXPIRY_NOTICE), now=now, seen_by=person, models=[ApiToken])
    return [*found, *(Attention(_expiry(token), _page(token), "warn") for token in expiring)]


def request_notices(*, now: datetime) -> list[int]:
    """Tell those who may hand it over of what lost its owner or soon does, each month until it is done, and owners of
    tokens that expire soon, once. Returns the ids of the notices' runs, to be rendered."""
    told: dict[str, int] = {}
    for owner in _find_forsaken(now=now):
        managers = holders_of("accounts.change_user").exclude(pk=owner.pk).order_by("is_superuser", "pk")
        key = f"owned:{owner.pk}:{'left' if _may_act(owner) else 'gone'}:{now:%Y%m}"
        for one in managers:
            is_theirs = rights_changeable_by(one).filter(pk=owner.pk).exists()
            if is_theirs and _working(Q(owner=owner), now=now, seen_by=one):
                told[f"{key}:{one.pk}"] = one.pk
    expiring = ApiToken.objects.usable(now).filter(expires_at__lte=now + EXPIRY_NOTICE)
    told |= {f"expiry:{pk}": owner for pk, owner in expiring.values_list("pk", "owner_id")}
    for key in Run.objects.filter(key__in=told).values_list("key", flat=True):
        del told[key]
    runs = [new_notice(key=key, person_id=pk, corp_id=None, now=now) for key, pk in told.items()]
    return [run.pk for run in Run.objects.bulk_create(runs)]


def content_of_notice(notice: Run) -> Content | None:
    """Return the content of a notice; None for one of another kind, or of what is not there any more."""
    kind, *rest = notice.key.split(":")
    if kind == "expiry" and (token := ApiToken.objects.filter(pk=rest[0]).first()):
        return Content(tidy_title(_("An API token expires soon")), tidy_text(_expiry(token)), link=_page(token))
    owner = User.objects.filter(pk=rest[0]).first() if kind == "owned" else None
    rows = [] if owner is None else _working(Q(owner=owner), now=notice.slot_at, seen_by=notice.requested_by)
    if owner is None or not rows:  # handed over meanwhile
        return None
    title = tidy_title(_("Somebody has to take over from %(person)s") % {"person": owner})
    return Content(title, tidy_text(_sentence(owner, rows)), link=_owner_page(owner))


# --- Rows -------------------------------------------------------------------------------------------------------------


def _is_used(model: Any, now: datetime) -> Q:
    return Q(revoked_at=None, expires_at__gt=now) if model is ApiToken else Q(is_enabled=True)


def _working(
    condition: Q, *, now: datetime, seen_by: User | None = None, models: Collection[Any] = MODELS
) -> list[Any]:
    """List what is in use and has an owner. `seen_by`: as far as that person may change it."""
    found: list[Any] = []
    for model in models:
        rows = model.objects.filter(_is_used(model, now), condition, owner__isnull=False)
        if seen_by is None:
            found += rows.select_related("owner")
        elif seen_by.has_perm(f"notifications.change_{model._meta.model_name}"):
            found += rows.visible_to(seen_by).select_related("owner")
    return found


def _find_forsaken(*, now: datetime, seen_by: User | None = None) -> dict[User, list[Any]]:
    """List what is in use and belongs to somebody who can no longer act, or has left in WeCom, by the owner. One query
    where there is nobody.
    """
    first, *others = (model.objects.filter(_is_used(model, now)).order_by().values("owner") for model in MODELS)
    accounts = WeComAccount.objects.filter(user=OuterRef("pk"))
    has_left = Exists(accounts.shut_out()) & ~Exists(accounts.complete().filter(~barred_by_wecom()))
    channels = InboundChannel.objects.filter(owner=OuterRef("pk"), is_enabled=True)
    may_not_send = Exists(channels) & ~Q(pk__in=senders().values("pk"))
    is_forsaken = Q(is_active=False) | Q(is_staff=False) | has_left | may_not_send
    owners = list(User.objects.filter(is_forsaken, pk__in=first.union(*others)))
    by_owner: dict[User, list[Any]] = defaultdict(list)
    for row in _working(Q(owner__in=owners), now=now, seen_by=seen_by) if owners else []:
        by_owner[row.owner].append(row)
    return by_owner


def _choose_rows(owner: User, keys: Collection[str], editor: User) -> list[Any]:
    return [row for row in _working(Q(owner=owner), now=timezone.now(), seen_by=editor) if _key(row) in keys]


def _is_within(row: Any, successor: User) -> bool:
    """Return whether what acts is limited to companies that `successor` sees: it must not grow with them unasked."""
    if sees_all_corps(successor) or not isinstance(row, ACTING):
        return True
    if isinstance(row, InboundChannel):
        return Corp.objects.visible_to(successor).filter(pk=row.corp_id or 0).exists()
    reaches_all = row.reach == ApiToken.Reach.EVERYTHING and (row.may_run or row.may_read or row.may_alert)
    return not (reaches_all or (row.may_send and row.sends_to == ApiToken.SendReach.EVERYONE))


def _may_act(owner: User) -> bool:
    return owner.is_active and owner.is_staff


# --- Words ------------------------------------------------------------------------------------------------------------


def _key(row: Any) -> str:
    return f"{row._meta.model_name}:{row.pk}"


def _name(row: Any) -> str:
    return _("%(kind)s “%(name)s”") % {"kind": row._meta.verbose_name, "name": row.name}


def _page(row: Any) -> str:
    return reverse(f"admin:notifications_{row._meta.model_name}_change", args=[row.pk])


def _owner_page(owner: User) -> str:
    return f"{reverse('admin:accounts_user_change', args=[owner.pk])}#owned"


def _sentence(owner: User, rows: Collection[Any]) -> str:
    names = [*map(_name, list(rows)[:NAMED_AT_MOST]), *(["…"] if len(rows) > NAMED_AT_MOST else [])]
    words = {"person": owner, "names": _(", ").join(names)}
    if _may_act(owner):
        return _("%(person)s has left in WeCom or may not send any more, and owns %(names)s.") % words
    if any(isinstance(row, ACTING) for row in rows):
        return _("%(person)s was disabled and owns %(names)s: tokens and channels among it have stopped.") % words
    return _("%(person)s was disabled and owns %(names)s: nobody is told what goes wrong with it.") % words


def _expiry(token: ApiToken) -> str:
    words = {"name": token.name, "day": f"{timezone.localtime(token.expires_at):%Y-%m-%d}"}
    return _("The API token “%(name)s” expires on %(day)s; calls with it are refused then. Make another one.") % words
