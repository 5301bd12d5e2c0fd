"""Choosing the data of a push: cards that are here already, and cards of the BI by their pages."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import AttributeValue, WeComAccount, fold_value
from accounts.users.contacts import whom_to_ask
from accounts.users.scopes import people_visible_to
from integrations import bi
from integrations.admin.card_picker import ID_CHARACTERS, WITHOUT_ROWS, listing_problem
from integrations.core.queues import queue_on_commit
from integrations.data.table import Kind, Table
from integrations.models import BiConnection, BiListing, Card, DataSource, Department, SourceKind
from integrations.models.datasources import THE_ONE
from integrations.models.fields import corp_condition
from integrations.tasks import list_bi

if TYPE_CHECKING:
    from accounts.models import User

SHOWN_AT_MOST = 30
ENTRIES_AT_MOST = 200
NAME_CHARACTERS = 100
# Of a column that says to whom rows belong: it has so many values at most, of which people have so many.
VALUES_AT_MOST = 1000
SHARE_AT_LEAST = 0.5
TEMPLATE = "admin/notifications/subscription/_data.html"
# What the ways to the BI need, and where they lead.
_CONNECT = ("integrations.change_biconnection", "integrations_biconnection_changelist")
_NEW_CARD = "integrations.add_card"
_NEW_SOURCE = ("integrations.add_datasource", "integrations_datasource_add")


def choices(request: HttpRequest) -> JsonResponse:
    """What can be chosen. `q`: a part of a name; `page`: of the BI, whose cards are wanted; `pictures`: whether pages
    and cards are also offered as pictures. The page asks again with `poll` while the BI lists: then the BI is not asked
    anew."""
    wanted = request.POST.get("q", "").replace("\x00", "").strip()
    source = _bi_source(request)
    # Whoever does not see the BI learns no name of its pages.
    page_id = _known_page(request.POST.get("page", "")) if source is not None else ""
    if source is not None and "poll" not in request.POST:
        _ask_bi(page_id)
    listing = bi.latest_listing(page_id) if source is not None else None
    cards = Card.objects.visible_to(request.user).filter(name__icontains=wanted).select_related("source")
    context = {
        "wanted": wanted,
        "page_id": page_id,
        "page_name": _name_of(page_id),
        "cards": [] if page_id else cards.order_by("-changed_at")[:SHOWN_AT_MOST],
        "source": source,
        "entries": _entries(listing, wanted)[:ENTRIES_AT_MOST],
        "may_add_card": request.user.has_perm(_NEW_CARD),
        "listing": listing,
        "with_pictures": "pictures" in request.POST,
        "is_running": listing is not None and listing.listed_at is None,
        "problem": listing_problem(listing),
        **_way_to_bi(request),
        "are_cards_hidden": Card.objects.hidden_from(request.user).exists(),
        "card_ask": "" if request.user.has_perm(_NEW_CARD) else whom_to_ask(request.user, _NEW_CARD),
        "add_card_url": _address(request, _NEW_CARD, "integrations_card_add"),
    }
    html = render_to_string(TEMPLATE, context, request)
    return JsonResponse({"html": html, "is_unfinished": context["is_running"]})


def proposed_pair(table: Table, *, by: User) -> tuple[str, str] | None:
    """Propose for own rows the column of texts, and the key of the attribute (or a name of OwnRowsRule.OF_PERSON), of
    which people have the most of its values; None where they have less than half of any column's. Three queries.
    """
    cells: dict[str, dict[str, str]] = {}
    for number, column in enumerate(table.columns):
        texts = {str(row[number]).strip() for row in table.rows if row[number]} if column.kind is Kind.TEXT else set()
        if 0 < len(texts) <= VALUES_AT_MOST:
            cells[column.name] = {fold_value(text): text for text in texts}
    wanted = {folded for texts in cells.values() for folded in texts}
    written = {text for texts in cells.values() for text in texts.values()}
    people, known = people_visible_to(by), defaultdict[str, set[str]](set)
    values = AttributeValue.objects.filter(user__in=people, folded__in=wanted)
    for attribute_id, folded in values.order_by("attribute").values_list("attribute", "folded").distinct():
        known[str(attribute_id)].add(folded)
    accounts = WeComAccount.objects.complete().filter(user__in=people, userid_folded__in=wanted)
    known["@userid"].update(accounts.values_list("userid_folded", flat=True))
    departments = Department.objects.visible_to(by).filter(removed_at=None, name__in=written)
    known["@department"].update(fold_value(name or "") for name in departments.values_list("name", flat=True))
    shares = {
        (column, key): len(its & texts.keys()) / len(texts)
        for column, texts in cells.items()
        for key, its in known.items()
    }
    best = max(shares, key=shares.__getitem__, default=("", ""))
    return best if shares.get(best, 0) >= SHARE_AT_LEAST else None


def choose(request: HttpRequest) -> JsonResponse:
    """Makes a card here of one of the BI, unless there is one; answers with its key and name."""
    if not request.user.has_perm(_NEW_CARD):
        raise PermissionDenied
    source = _bi_source(request)
    page_id, card_id = (request.POST.get(name, "") for name in ("page", "card"))
    if source is None or not card_id or max(len(page_id), len(card_id)) > ID_CHARACTERS:
        raise Http404
    known = Card.objects.filter(source=source, bi_page_id=page_id, bi_card_id=card_id).order_by("pk").first()
    if known is None:
        names = {its_id: name for its_id, name, has_rows in _entries(bi.latest_listing(page_id), "") if has_rows}
        if card_id not in names:
            raise Http404
        name = _free_name(source, names[card_id] or card_id)
        known = Card.objects.create(source=source, name=name, bi_page_id=page_id, bi_card_id=card_id)
    return JsonResponse({"id": known.pk, "name": known.name})


def _ask_bi(page_id: str) -> None:
    """Have the BI list, where what it listed is old, or it failed."""
    listing_id = bi.request_listing(page_id=page_id, now=timezone.now())
    if listing_id is not None:
        give_up = partial(bi.give_up_listing, listing_id, clock=timezone.now)
        queue_on_commit(list_bi, listing_id, otherwise=give_up)


def _known_page(page_id: str) -> str:
    """Empty for what is no page of the BI's list."""
    pages = bi.latest_listing() if page_id else None
    return page_id if pages is not None and any(one[0] == page_id for one in pages.entries) else ""


def _entries(listing: BiListing | None, wanted: str) -> list[tuple[str, str, bool]]:
    """The id and name of each page or card, and whether it holds rows."""
    if listing is None or listing.listed_at is None or listing.problem_code:
        return []
    fitting = [one for one in listing.entries if wanted.casefold() in f"{one[1]}\n{one[0]}".casefold()]
    return [(one[0], one[1] or one[0], one[2] not in WITHOUT_ROWS) for one in fitting]


def _bi_source(request: HttpRequest) -> DataSource | None:
    """That of every company, where the person sees one."""
    found = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    return found.order_by(F("corp").asc(nulls_first=True), "pk").first()


def _name_of(page_id: str) -> str:
    pages = bi.latest_listing() if page_id else None
    return {one[0]: one[1] for one in pages.entries}.get(page_id, page_id) if pages else page_id


def _free_name(source: DataSource, name: str) -> str:
    """The BI's name, counted where a card of this source has it already."""
    name = name[: NAME_CHARACTERS - 6]
    taken = set(Card.objects.filter(source=source, name__startswith=name).values_list("name", flat=True))
    free = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in free if each not in taken)


def _way_to_bi(request: HttpRequest) -> dict[str, Any]:
    """Why there is no BI to choose from, and where it is connected or made a source, for whoever may do that; else whom
    to ask. Somebody who sees some companies alone learns of a source of no company that it is there."""
    is_connected = BiConnection.objects.filter(pk=THE_ONE).exclude(base_url="").exists()
    sources = DataSource.objects.hidden_from(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    is_hidden = is_connected and sources.exists()
    permission, view = _NEW_SOURCE if is_connected else _CONNECT
    page = "" if corp_condition(request.user) else _address(request, permission, view)
    return {
        "is_bi_connected": is_connected,
        "is_bi_hidden": is_hidden,
        "bi_url": f"{page}?kind={SourceKind.GUANDATA.value}" if page and is_connected else page,
        "bi_ask": "" if page else whom_to_ask(request.user, permission, ()),
    }


def _address(request: HttpRequest, permission: str, view: str) -> str:
    return reverse(f"admin:{view}") if request.user.has_perm(permission) else ""
