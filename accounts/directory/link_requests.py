"""Link requests: a person confirmed by WeCom asks to be linked, an administrator links them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import F
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import LinkRequest, User, WeComAccount, fold_userid
from accounts.users import companies
from integrations.core.hooks import Attention
from integrations.models import Corp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

# Somebody who presses again sooner is told that the administrators know already.
REQUESTED_AGAIN_AFTER = timedelta(hours=1)
# New people of one company within a day. More are an accident: then the company's link is wrong, not so many people's.
NEW_A_DAY = 500
# Of each company's, named one by one on the index.
NAMED = 3
KEPT = timedelta(days=90)
COUNTED = 1000


class LinkRefused(Exception):
    """The two cannot be linked; the text is a sentence for the administrator."""


def request_link(*, corp: Corp, userid: str, now: datetime) -> bool:
    """Note that somebody asks to be linked; False where that company has had more requests today than can be meant.

    One row for each identity, however often it asks: `userid` must be one that WeCom has confirmed.
    """
    known = LinkRequest.objects.filter(corp=corp, userid_folded=fold_userid(userid))
    if known.exists():
        known.filter(requested_at__lte=now - REQUESTED_AGAIN_AFTER).update(
            requested_at=now, request_count=F("request_count") + 1
        )
        return True
    today = LinkRequest.objects.filter(corp=corp, first_requested_at__gt=now - timedelta(days=1))
    if today.order_by()[:NEW_A_DAY].count() >= NEW_A_DAY:
        return False
    LinkRequest.objects.get_or_create(
        corp=corp,
        userid_folded=fold_userid(userid),
        defaults={"userid": userid, "first_requested_at": now, "requested_at": now},
    )
    return True


def requested_at(*, corp_id: int, userid: str) -> datetime | None:
    """When this identity asked last; None where it never did."""
    return (
        LinkRequest.objects.filter(corp=corp_id, userid_folded=fold_userid(userid))
        .values_list("requested_at", flat=True)
        .first()
    )


def reason_against(*, request: LinkRequest, user: User) -> str:
    """Why `user` cannot be given the account that `request` names, as a sentence; empty where that can be done."""
    owner = WeComAccount.objects.for_identity(corp=request.corp, userid=request.userid).first()
    if owner is not None and owner.user_id != user.pk:
        return _("This WeCom account is linked with another user by now.")
    others = WeComAccount.objects.complete().filter(user=user, corp=request.corp)
    if others.exclude(userid_folded=request.userid_folded).exists():
        sentence = _("This user has another account in “%(corp)s” already. Change it on the user's page.")
        return sentence % {"corp": request.corp.name}
    return ""


def link(*, request: LinkRequest, user: User) -> None:
    """Give `user` the account that `request` names; one of theirs that lacks one of the two attributes is filled.

    Raises LinkRefused as `reason_against` says, also where somebody else was faster.
    """
    try:
        with transaction.atomic():
            accounts = WeComAccount.objects.select_for_update().filter(user=user).order_by("pk")
            list(accounts.values_list("pk", flat=True))  # locked: a run of the directory may be filling one of them
            if reason := reason_against(request=request, user=user):
                raise LinkRefused(reason)
            account = (
                accounts.filter(corp=request.corp, userid_folded=request.userid_folded).first()
                or accounts.filter(corp=None, userid_folded=request.userid_folded).first()
                or accounts.filter(corp=request.corp, userid_folded="").first()
                or WeComAccount(user=user, is_primary=False)
            )
            account.corp, account.userid = request.corp, request.userid
            account.save()
            companies.settle_primary_accounts([user.pk])
    except IntegrityError as error:
        raise LinkRefused(_("This WeCom account is linked with another user by now.")) from error


def attentions(request: HttpRequest, corps: Sequence[Corp]) -> list[Attention]:
    """Who asks to be linked, each with the page on which that is done. One query."""
    if not request.user.has_perm("accounts.view_linkrequest"):
        return []
    waiting = LinkRequest.objects.open().filter(corp__in=[corp.pk for corp in corps]).select_related("corp")
    found = list(waiting.only("userid", "requested_at", "corp__name").order_by("-requested_at")[:COUNTED])
    named = [
        Attention(
            _("%(userid)s of “%(corp)s” cannot sign in and asks to be linked with a user.")
            % {"userid": one.userid, "corp": one.corp.name},
            reverse("admin:accounts_linkrequest_change", args=[one.pk]),
            "warn",
        )
        for one in found[:NAMED]
    ]
    return named if len(found) <= NAMED else [*named, _more(len(found) - NAMED)]


def _more(count: int) -> Attention:
    sentence = ngettext("%(count)s more person asks to be linked.", "%(count)s more people ask to be linked.", count)
    shown = f"{count}+" if count == COUNTED - NAMED else str(count)
    url = f"{reverse('admin:accounts_linkrequest_changelist')}?{urlencode({'state': 'open'})}"
    return Attention(sentence % {"count": shown}, url, "warn")


def purge(*, now: datetime) -> None:
    """Remove requests that nobody repeated for so long that they mean nothing any more."""
    LinkRequest.objects.filter(requested_at__lte=now - KEPT).delete()
