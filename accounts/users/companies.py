"""A person's primary account, and what disabling a company stops."""

from __future__ import annotations

from django.utils.translation import ngettext

from accounts.models import User, WeComAccount
from integrations.models import Corp


def ensure_primary_account(*, user: User) -> None:
    """Of a person's accounts one receives the messages: the first one where none was chosen."""
    accounts = WeComAccount.objects.filter(user=user)
    if accounts.filter(is_primary=True).exists():
        return
    first = accounts.order_by("pk").first()
    if first is not None:
        accounts.filter(pk=first.pk).update(is_primary=True)


def rests_on_corpid(corp: Corp) -> bool:
    """Whether people are linked with userids of `corp`."""
    return WeComAccount.objects.complete().filter(corp=corp).exists()


def disabling_stops(corp: Corp) -> list[str]:
    """What disabling `corp` does to its people, for the page that asks before it happens."""
    accounts = WeComAccount.objects.complete().filter(corp=corp, user__is_active=True)
    sentences = []
    if corp.sign_in_enabled:
        count = accounts.values("user").distinct().count()
        sentence = ngettext(
            "%(count)d person can no longer sign in with WeCom, and is signed out if signed in that way.",
            "%(count)d people can no longer sign in with WeCom, and are signed out if signed in that way.",
            count,
        )
        sentences.append(sentence % {"count": count})
    count = accounts.filter(is_primary=True).count()
    sentence = ngettext(
        "%(count)d person receives no messages meanwhile.", "%(count)d people receive no messages meanwhile.", count
    )
    return [*sentences, sentence % {"count": count}]
