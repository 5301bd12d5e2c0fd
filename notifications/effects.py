"""What disabling a company, or moving its people to another, means for pushes: for the pages that ask before."""

from __future__ import annotations

from django.utils.translation import ngettext

from integrations.models import Corp
from notifications.models import Delivery, Subscription

# Counted no further: the page is shown while somebody waits.
COUNTED = 10_000


def moving_leaves_behind(source: Corp, target: Corp) -> list[str]:
    """Sentences about messages that keep their recipients and subscriptions that lose theirs."""
    sentences = []
    waiting = Delivery.objects.unsettled().filter(corp=source)[:COUNTED].count()
    if waiting:
        sentence = ngettext(
            "%(count)d delivery waits in “%(corp)s”. It still goes to its recipients there: they were fixed when it "
            "was made.",
            "%(count)d deliveries wait in “%(corp)s”. They still go to their recipients there: these were fixed when "
            "the deliveries were made.",
            waiting,
        )
        sentences.append(sentence % {"count": waiting, "corp": source})
    only_there = Subscription.objects.filter(report__corp=source, is_enabled=True).count()
    if only_there:
        sentence = ngettext(
            "%(count)d enabled subscription is only for “%(corp)s”: it no longer reaches who moves.",
            "%(count)d enabled subscriptions are only for “%(corp)s”: they no longer reach who moves.",
            only_there,
        )
        sentences.append(sentence % {"count": only_there, "corp": source})
    return sentences


def disabling_holds_back(corp: Corp) -> list[str]:
    """Sentences about messages that will wait and subscriptions that will reach nobody."""
    sentences = []
    waiting = Delivery.objects.unsettled().filter(corp=corp)[:COUNTED].count()
    if waiting:
        sentence = ngettext(
            "%(count)d delivery waits until the company is enabled again, or is canceled when it is worthless.",
            "%(count)d deliveries wait until the company is enabled again, or are canceled when they are worthless.",
            waiting,
        )
        sentences.append(sentence % {"count": waiting})
    only_here = Subscription.objects.filter(report__corp=corp, is_enabled=True).count()
    if only_here:
        sentence = ngettext(
            "%(count)d enabled subscription is only for this company and reaches nobody meanwhile.",
            "%(count)d enabled subscriptions are only for this company and reach nobody meanwhile.",
            only_here,
        )
        sentences.append(sentence % {"count": only_here})
    return sentences
