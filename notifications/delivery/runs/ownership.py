"""Ownership: what people own, who may take it over, and notices that an owner can no longer act.

A token or channel acts with its owner's rights. An editor who may see it hands it over only to themselves or to a
person whose rights they may change, so an editor gives nobody rights that the editor could not grant. A successor
chosen in advance takes it over only if the successor has no more rights than the owner had, because the former owner
may still know the secret.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.translation import gettext as _

from accounts.models import User, WeComAccount, barred_by_wecom
from accounts.users.roles import (
    find_changeable_people,
    find_people_with_changeable_rights,
    find_permission_holders,
    make_no_more_rights_condition,
    sees_rows_without_corp,
)
from integrations.core.hooks import Attention
from integrations.models import Corp, Member
from notifications.delivery.runs.owner_notices import save_notice
from notifications.delivery.runs.recall import cancel_messages_to_robot
from notifications.models import AlertRule, ApiToken, InboundChannel, Report, Robot, Run, Subscription
from notifications.models.inbound import find_senders

# Rows of ACTING_MODELS stop once their owner may not act. Other rows go on, but nobody is notified of their problems.
MODELS: tuple[Any, ...] = (ApiToken, InboundChannel, Subscription, AlertRule)
ACTING_MODELS = (ApiToken, InboundChannel)
NAMED_AT_MOST = 5
EXPIRY_NOTICE = timedelta(days=14)


def find_owned(owner: User, editor: User) -> list[tuple[str, str, str, str]]:
    """Return key, name, page and usable successor of the rows in use that `owner` owns and `editor` may hand over."""
    rows = _find_owned_rows(Q(owner=owner), now=timezone.now(), seen_by=editor)
    return [(_make_key(row), _name_row(row), _make_row_url(row), str(_find_successor(row) or "")) for row in rows]


def describe_owner(row: Any, viewer: User) -> str:
    """Return the owner and successor of `row`, with links to where `viewer` can change them."""
    if row.owner is None:
        return _("nobody")
    line: str = str(row.owner)
    may_open = (
        viewer.has_perm("accounts.change_user") and find_changeable_people(viewer).filter(pk=row.owner_id).exists()
    )
    if may_open and _find_owned_rows(Q(pk=row.pk), now=timezone.now(), seen_by=viewer, models=[type(row)]):
        line = format_html('{} · <a href="{}">{}</a>', line, _make_owner_url(row.owner), _("Hand it over"))
    line = format_html("{} · {}", line, _("successor: %(person)s") % {"person": row.successor or _("nobody")})
    if find_changeable(type(row), row.pk, viewer) is None:
        return line
    url = reverse(f"admin:notifications_{row._meta.model_name}_successor", args=[row.pk])
    return format_html('{} <a href="{}">{}</a>', line, url, _("Choose"))


def find_objections(owner: User, keys: Collection[str], successor: User, editor: User) -> list[str]:
    """Explain, in whole sentences, why `successor` may not take over the rows of `keys`."""
    may_choose = successor == editor or find_people_with_changeable_rights(editor).filter(pk=successor.pk).exists()
    if not (may_choose and _may_act(successor)):
        return [_("You may not have %(person)s take something over.") % {"person": successor}]
    return list(filter(None, (explain_objection(row, successor) for row in _choose_rows(owner, keys, editor))))


@transaction.atomic
def hand_over(owner: User, keys: Collection[str], successor: User, editor: User) -> int:
    """Make `successor` the owner of the rows of `keys`. Return how many."""
    rows = _choose_rows(owner, keys, editor, is_locked=True)
    for row in rows:
        _give_row(row, successor)
    return len(rows)


# --- Successors chosen in advance -------------------------------------------------------------------------------------


def find_changeable(model: Any, pk: int, editor: User) -> Any:
    """Return the row with this key, in use or not, if `editor` may choose its successor; else None."""
    if not editor.has_perm(f"notifications.change_{model._meta.model_name}"):
        return None
    return model.objects.visible_to(editor).select_related("owner", "successor").filter(pk=pk).first()


def let_successors_take_over(user_ids: Collection[int] | QuerySet[Any, Any] | None = None) -> list[str]:
    """Let chosen successors take over from owners who were disabled or have left in WeCom; only from `user_ids`, if
    given. Return sentences that say who took over what. Makes one query if nobody has left."""
    now = timezone.now()
    first, *others = (
        model.objects.filter(_match_usable(model, now), successor__isnull=False).order_by().values("owner")
        for model in MODELS
    )
    deleted = Member.objects.filter(corp=OuterRef("corp_id"), userid_folded=OuterRef("userid_folded"))
    accounts = WeComAccount.objects.filter(user=OuterRef("pk"))
    left = accounts.filter(Q(left_at__isnull=False) | Exists(deleted.filter(presence=Member.Presence.DELETED)))
    has_ended = Q(is_active=False) | Q(is_staff=False) | (_match_leavers() & Exists(left))
    owners = User.objects.filter(has_ended, pk__in=first.union(*others)).order_by("pk")
    if user_ids is not None:
        owners = owners.filter(pk__in=user_ids)
    return [sentence for owner in owners for sentence in _replace_owner(owner, now)]


def replace_deleted_owners(corp: Corp, userids: Sequence[str], _now: datetime) -> None:
    """Let successors take over from these members, whom WeCom bars, if WeCom has deleted them."""
    let_successors_take_over(WeComAccount.objects.filter(corp=corp, userid_folded__in=userids).values("user_id"))


@transaction.atomic
def _replace_owner(owner: User, now: datetime) -> list[str]:
    """Give each row of the owner to its successor, if there is one who may own it, and notify the people concerned."""
    managers = list(_find_managers(owner, now))
    taken: dict[User, list[Any]] = defaultdict(list)
    # Disabled rows too: they would fail silently when they are enabled again.
    for row in _find_owned_rows(Q(owner=owner, successor__isnull=False), now=now, is_locked=True, match=_match_usable):
        if (successor := _find_successor(row)) is not None:
            _give_row(row, successor)
            taken[successor].append(row)
    with translation.override(settings.LANGUAGE_CODE):
        for successor, rows in taken.items():
            title = _("%(successor)s has taken over from %(person)s") % {"successor": successor, "person": owner}
            for person in dict.fromkeys([successor, *managers]):
                key = f"taken:{owner.pk}:{successor.pk}:{now:%Y%m%d%H%M%S%f}:{person.pk}"
                if seen := [row for row in rows if find_changeable(type(row), row.pk, person) is not None]:
                    text, link = _explain_taken(owner, successor, seen), _make_row_url(seen[0])
                    save_notice(title, text, link, key=key, person_id=person.pk, now=now)
    return [_explain_taken(owner, successor, rows) for successor, rows in taken.items()]


def _find_successor(row: Any) -> User | None:
    """Return the successor of `row`, if that person may own it now."""
    successor: User | None = row.successor
    if successor is None or not _may_act(successor) or explain_objection(row, successor):
        return None
    if not isinstance(row, ACTING_MODELS):
        return successor
    return User.objects.filter(match_not_stronger(row.owner), pk=successor.pk).first()


def match_not_stronger(owner: User) -> Q:
    """Return a condition on User: people with no more rights than `owner` has, or had before being disabled."""
    enabled_owner = copy(owner)
    enabled_owner.is_active = enabled_owner.is_staff = True
    return make_no_more_rights_condition(enabled_owner)


def explain_objection(row: Any, successor: User) -> str:
    """Explain, in a whole sentence, why `successor` may not own `row`; empty if they may."""
    words = {"person": successor, "name": _name_row(row)}
    sends = isinstance(row, InboundChannel) or getattr(row, "may_send", False)
    if sends and not find_senders().filter(pk=successor.pk).exists():
        return _("%(person)s may not send messages, and %(name)s does.") % words
    # A new owner must see the row, and must not widen the reach of a token or channel.
    if not isinstance(row, ACTING_MODELS):
        is_within = type(row).objects.visible_to(successor).filter(pk=row.pk).exists()
    elif sees_rows_without_corp(successor):
        is_within = True
    elif isinstance(row, InboundChannel):
        is_within = Corp.objects.visible_to(successor).filter(pk=row.corp_id or 0).exists()
    else:
        reaches_all = row.reach == ApiToken.Reach.EVERYTHING and (row.may_run or row.may_read or row.may_alert)
        is_within = not (reaches_all or (row.may_send and row.sends_to == ApiToken.SendReach.EVERYONE))
    if not is_within:
        return _("%(name)s reaches further than the companies of %(person)s.") % words
    if not successor.has_perm(f"notifications.change_{row._meta.model_name}"):
        return _("%(person)s may not manage such things as %(name)s.") % words
    return ""


def _give_row(row: Any, successor: User) -> None:
    """Make the successor the owner of the row, without a successor."""
    if isinstance(row, Subscription):
        # The new owner did not choose the recipients of this push.
        end_page_rights(row.report, by=None, now=timezone.now())
    row.owner, row.successor = successor, None
    row.save(update_fields=["owner", "successor"])


# --- Notices ----------------------------------------------------------------------------------------------------------


def find_attentions(person: User, now: datetime) -> list[Attention]:
    """List rows that lost their owner or soon will, and tokens that expire soon. Makes three to seven queries."""
    found = []
    for owner, rows in _find_ownerless(now=now, seen_by=person).items():
        url = _make_owner_url(owner) if person.has_perm("accounts.change_user") else _make_row_url(rows[0])
        found.append(Attention(_explain_ownerless(owner, rows), url, "warn" if _may_act(owner) else "bad"))
    expiring = _find_owned_rows(Q(expires_at__lte=now + EXPIRY_NOTICE), now=now, seen_by=person, models=[ApiToken])
    return [*found, *(Attention(_explain_expiry(token), _make_row_url(token), "warn") for token in expiring)]


def request_ownership_notices(*, now: datetime) -> list[int]:
    """Let successors take over. Make notices, each month until they are handed over, about other rows that lost their
    owner or soon will, and one notice about each token that expires soon. Return the ids of the notices' runs, to be
    rendered."""
    let_successors_take_over()
    notices: dict[str, _Notice] = {}
    for owner in _find_ownerless(now=now):
        key = f"owned:{owner.pk}:{'left' if _may_act(owner) else 'gone'}:{now:%Y%m}"
        title = _("Somebody has to take over from %(person)s") % {"person": owner}
        for person, rows in _find_managers(owner, now).items():
            text = _explain_ownerless(owner, rows)
            notices[f"{key}:{person.pk}"] = _Notice(person.pk, title, text, _make_owner_url(owner))
    for token in ApiToken.objects.usable(now).filter(expires_at__lte=now + EXPIRY_NOTICE):
        title = _("An API token expires soon")
        notices[f"expiry:{token.pk}"] = _Notice(token.owner_id, title, _explain_expiry(token), _make_row_url(token))
    for key in Run.objects.filter(key__in=notices).values_list("key", flat=True):
        del notices[key]
    return [
        save_notice(one.title, one.text, one.link, key=key, person_id=one.person_id, now=now).pk
        for key, one in notices.items()
    ]


class _Notice(NamedTuple):
    """A notice to be saved, for one person."""

    person_id: int
    title: str
    text: str
    link: str


def _find_managers(owner: User, now: datetime) -> dict[User, list[Any]]:
    """Map people who may hand over some of the rows in use that `owner` owns, to these rows."""
    holders = find_permission_holders("accounts.change_user").exclude(pk=owner.pk).order_by("is_superuser", "pk")
    managers = [one for one in holders if find_people_with_changeable_rights(one).filter(pk=owner.pk).exists()]
    found = {one: _find_owned_rows(Q(owner=owner), now=now, seen_by=one) for one in managers}
    return {one: rows for one, rows in found.items() if rows}


# --- Rows -------------------------------------------------------------------------------------------------------------


def _match_usable(model: Any, now: datetime) -> Q:
    """Return the condition for rows that work, or can be enabled again."""
    return Q(revoked_at=None, expires_at__gt=now) if model is ApiToken else Q()


def _match_used(model: Any, now: datetime) -> Q:
    return _match_usable(model, now) if model is ApiToken else Q(is_enabled=True)


def _find_owned_rows(
    condition: Q,
    *,
    now: datetime,
    seen_by: User | None = None,
    models: Collection[Any] = MODELS,
    is_locked: bool = False,
    match: Callable[[Any, datetime], Q] = _match_used,
    names_at_most: int = 0,
) -> list[Any]:
    """List owned rows in use. `seen_by`: only rows that this person may change; `is_locked`: lock them until the
    transaction ends; `match`: the condition for being in use; `names_at_most`: return at most so many rows of
    each owner and model, with only their names and owners."""
    rank = Window(RowNumber(), partition_by="owner", order_by="pk")
    found: list[Any] = []
    for model in models:
        rows = model.objects.filter(match(model, now), condition, owner__isnull=False)
        rows = rows.select_related("owner", "successor").order_by("pk")
        if is_locked:
            rows = rows.select_for_update(of=("self",), no_key=True)
        if names_at_most:
            named = rows.select_related(None).only("name", "owner")
            rows = named.annotate(rank=rank).filter(rank__lte=names_at_most)
        if seen_by is None:
            found += rows
        elif seen_by.has_perm(f"notifications.change_{model._meta.model_name}"):
            found += rows.visible_to(seen_by)
    return found


def _find_ownerless(*, now: datetime, seen_by: User | None = None) -> dict[User, list[Any]]:
    """Map owners who can no longer act, or have left in WeCom, to their rows in use: of each model the first
    NAMED_AT_MOST + 1. Makes two queries if there are none."""
    first, *others = (model.objects.filter(_match_used(model, now)).order_by().values_list("owner") for model in MODELS)
    # The keys are read first, because with a subquery the database would look at every user.
    keys = [key for (key,) in first.union(*others)]
    channels = InboundChannel.objects.filter(owner=OuterRef("pk"), is_enabled=True)
    may_not_send = Exists(channels) & ~Q(pk__in=find_senders().values("pk"))
    cannot_act = Q(is_active=False) | Q(is_staff=False) | _match_leavers() | may_not_send
    owners = User.objects.filter(cannot_act).in_bulk(keys)
    by_owner: dict[User, list[Any]] = defaultdict(list)
    for row in _find_owned_rows(Q(owner__in=list(owners)), now=now, seen_by=seen_by, names_at_most=NAMED_AT_MOST + 1):
        by_owner[owners[row.owner_id]].append(row)
    return by_owner


def _match_leavers() -> Q:
    """Return a condition on User: people whom no company of WeCom lets in any more."""
    accounts = WeComAccount.objects.filter(user=OuterRef("pk"))
    return Q(Exists(accounts.shut_out())) & ~Q(Exists(accounts.complete().filter(~barred_by_wecom())))


def _choose_rows(owner: User, keys: Collection[str], editor: User, *, is_locked: bool = False) -> list[Any]:
    rows = _find_owned_rows(Q(owner=owner), now=timezone.now(), seen_by=editor, is_locked=is_locked)
    return [row for row in rows if _make_key(row) in keys]


def _may_act(owner: User) -> bool:
    return owner.is_active and owner.is_staff


# --- Names, addresses and sentences -----------------------------------------------------------------------------------


def _make_key(row: Any) -> str:
    return f"{row._meta.model_name}:{row.pk}"


def _name_row(row: Any) -> str:
    return _("%(kind)s “%(name)s”") % {"kind": row._meta.verbose_name, "name": row.name}


def _name_rows(rows: Collection[Any]) -> str:
    """Return the names of the first rows, and an ellipsis if there are more."""
    more = ["…"] if len(rows) > NAMED_AT_MOST else []
    return _(", ").join([*map(_name_row, list(rows)[:NAMED_AT_MOST]), *more])


def _make_row_url(row: Any) -> str:
    return reverse(f"admin:notifications_{row._meta.model_name}_change", args=[row.pk])


def _make_owner_url(owner: User) -> str:
    return f"{reverse('admin:accounts_user_change', args=[owner.pk])}#owned"


def _explain_ownerless(owner: User, rows: Collection[Any]) -> str:
    words = {"person": owner, "names": _name_rows(rows)}
    if _may_act(owner):
        return _("%(person)s has left in WeCom or may not send any more, and owns %(names)s.") % words
    if any(isinstance(row, ACTING_MODELS) for row in rows):
        return _("%(person)s was disabled and owns %(names)s: the tokens and channels among them have stopped.") % words
    return _("%(person)s was disabled and owns %(names)s: nobody is notified when they fail.") % words


def _explain_taken(owner: User, successor: User, rows: Collection[Any]) -> str:
    words = {"person": owner, "successor": successor, "names": _name_rows(rows)}
    return _("%(successor)s, chosen in advance, has taken over from %(person)s: %(names)s.") % words


def _explain_expiry(token: ApiToken) -> str:
    words = {"name": token.name, "day": f"{timezone.localtime(token.expires_at):%Y-%m-%d}"}
    return _("The API token “%(name)s” expires on %(day)s; calls with it are refused then. Make another one.") % words


# --- Whose rights a picture of a page is taken with: each recipient's, or the owner's if the owner chose so ---

# When another person edits a push that sends the picture, or changes the key of its robot, the picture is no longer
# taken with the owner's rights, and the owner gets a notice.


class NotTheOwnerError(Exception):
    """Raised when a person wants to show everybody what another person may see."""


def may_show_as(report: Report, person: User) -> bool:
    """Return whether `person` may show the page to all recipients as `person` sees it: whether `person` owns every push
    of the report, or the report has none yet."""
    if not person.is_active:
        return False
    return report.pk is None or not Subscription.objects.filter(report=report.pk).exclude(owner=person.pk).exists()


PICTURE_RIGHTS = ("picture_shown_as", "picture_ended_by", "picture_ended_at")


def show_page_as(report: Report, person: User | None) -> None:
    """Show the report's page to all recipients as `person` sees it; None: to each with their own rights. Save the
    report. Raises NotTheOwnerError."""
    if person is not None and not may_show_as(report, person):
        raise NotTheOwnerError
    report.picture_shown_as, report.picture_ended_by, report.picture_ended_at = person, None, None
    report.save(update_fields=PICTURE_RIGHTS)


@transaction.atomic
def end_page_rights(report: Report, *, by: User | None, now: datetime) -> list[int]:
    """Stop showing the report's page as a person other than `by` sees it, because `by` edited a push or the report.
    Return the id of the run that notifies that person, if there is one. The caller may queue its rendering after the
    transaction; otherwise a tick does a little later. `by`: None if a push was handed over.

    Call it before the edit is saved: the notice names the page as it was, and the owner may choose anew in the same
    edit.
    """
    rows = Report.objects.select_for_update(of=("self",), no_key=True).filter(picture_shown_as__isnull=False)
    shown = rows.filter(pk=report.pk).exclude(picture_shown_as=by).first()
    if shown is None:
        return []
    owner_id = shown.picture_shown_as_id
    for row in (shown, report):  # an edited report is saved as a whole later
        row.picture_shown_as, row.picture_ended_by, row.picture_ended_at = None, by, now
    shown.save(update_fields=PICTURE_RIGHTS)
    with translation.override(settings.LANGUAGE_CODE):
        owned = list(Subscription.objects.filter(report=report.pk, owner=owner_id).order_by("pk"))
        names = ", ".join(one.name for one in owned)
        words = {
            "name": names,
            "page": shown.picture_name,
            "person": _("somebody") if by is None else by.get_full_name(),
        }
        text = _(
            "%(person)s has edited the push “%(name)s”, or the robot to which it goes. Its picture of the page "
            "“%(page)s” is no longer shown as you see it: each recipient now gets it with their own rights in the BI, "
            "and people without an account there get no message. To share what you see again, open the push and choose "
            "it anew."
        )
        title, link = _("Your page picture is no longer shown as you see it"), _make_row_url(owned[0]) if owned else ""
        key = f"page-rights:{report.pk}:{now:%Y%m%d%H%M%S%f}"
        notice = save_notice(title, text % words, link, key=key, person_id=owner_id, corp_id=report.corp_id, now=now)
    return [notice.pk]


@transaction.atomic
def end_page_rights_of_robot(robot: Robot, *, by: User, now: datetime) -> list[int]:
    """Stop showing pages to the robot's group as people other than `by` see them, because another key means another
    group. Cancel waiting messages. Return the ids that `end_page_rights` returns. Call it before the key is saved."""
    shown = Report.objects.filter(picture_shown_as__isnull=False, subscriptions__robot=robot)
    if reports := list(shown.exclude(picture_shown_as=by).distinct()):
        cancel_messages_to_robot(robot, reports, now=now)
    return [run_id for report in reports for run_id in end_page_rights(report, by=by, now=now)]
