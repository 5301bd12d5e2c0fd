"""The choice of data on a push's page: pages and cards of the BI, and a column by which people get only their rows."""

from __future__ import annotations

from collections import defaultdict

from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import AttributeValue, User, WeComAccount, fold_value
from accounts.users.roles import describe_contacts, find_visible_people
from integrations.admin.datasources import ID_CHARACTERS, WITHOUT_ROWS
from integrations.data.table import Kind, Table
from integrations.datasources import catalogue
from integrations.jobs.registry import describe_job
from integrations.models import BiConnection, Card, DataSource, Department, Job, SourceKind
from integrations.models.fields import corp_condition
from integrations.models.installation import SINGLETON_PK

SHOWN_AT_MOST = 30  # data that was added already
ENTRIES_AT_MOST = 200  # pages or cards of the BI
NAME_CHARACTERS = 100
# A column is proposed for own rows if it has at most VALUES_AT_MOST values and people have at least this share of them.
VALUES_AT_MOST = 1000
SHARE_AT_LEAST = 0.5
TEMPLATE = "admin/notifications/subscription/_data.html"
_NEW_CARD = "integrations.add_card"
# The permission that a link needs, and its URL name.
_CONNECT = ("integrations.change_biconnection", "integrations_biconnection_changelist")
_NEW_SOURCE = ("integrations.add_datasource", "integrations_datasource_add")


def list_choices(request: HttpRequest) -> JsonResponse:
    """List the data that can be chosen. `q`: part of a name; `page`: a BI page whose cards to list; `pictures`: also
    offer pages and cards as pictures. With `poll`, the BI is not queried again: the page only asks whether the running
    listing is done."""
    wanted = request.POST.get("q", "").replace("\x00", "").strip()
    source = _find_bi_source(request)
    # People who may not see the BI must not learn the names of its pages.
    known = catalogue.find_listing() if source is not None else None
    pages = {one.entry_id: one.name for one in catalogue.read_entries(known)}
    page_id = page if (page := request.POST.get("page", "")) in pages else ""
    if source is not None and "poll" not in request.POST:
        catalogue.request_listing(page_id=page_id, by=request.user, now=timezone.now())
    listing = catalogue.find_listing(page_id) if source is not None else None
    cards = Card.objects.visible_to(request.user).filter(name__icontains=wanted).select_related("source")
    state = describe_job(listing)
    # If there is no BI to choose from, the page says why, and links to its connection or names people to ask. People
    # limited to some companies only learn that a source for all companies exists.
    is_connected = BiConnection.objects.filter(pk=SINGLETON_PK).exclude(base_url="").exists()
    hidden = DataSource.objects.hidden_from(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    permission, view = _NEW_SOURCE if is_connected else _CONNECT
    bi_page = "" if corp_condition(request.user) else _link_if_allowed(request, permission, view)
    context = {
        "wanted": wanted,
        "page_id": page_id,
        "page_name": pages.get(page_id, ""),
        "cards": [] if page_id else cards.order_by("-changed_at")[:SHOWN_AT_MOST],
        "source": source,
        "entries": _list_entries(listing, wanted)[:ENTRIES_AT_MOST],
        "may_add_card": request.user.has_perm(_NEW_CARD),
        **state,
        "problem": state["problem"] or state["wait"],
        "with_pictures": "pictures" in request.POST,
        "is_bi_connected": is_connected,
        "is_bi_hidden": is_connected and hidden.exists(),
        "bi_url": f"{bi_page}?kind={SourceKind.GUANDATA.value}" if bi_page and is_connected else bi_page,
        "bi_contacts": "" if bi_page else describe_contacts(request.user, permission, ()),
        "are_cards_hidden": Card.objects.hidden_from(request.user).exists(),
        "card_contacts": "" if request.user.has_perm(_NEW_CARD) else describe_contacts(request.user, _NEW_CARD),
        "add_card_url": _link_if_allowed(request, _NEW_CARD, "integrations_card_add"),
    }
    html = render_to_string(TEMPLATE, context, request)
    return JsonResponse({"html": html, "is_unfinished": context["is_unfinished"]})


def propose_own_rows(table: Table, *, by: User) -> tuple[str, str] | None:
    """Propose a column and an attribute for own rows: the pair with the largest share of the column's values that
    people have. The attribute is a key or a name in OwnRowsRule.OF_PERSON. Return None if no share reaches
    SHARE_AT_LEAST. Makes three queries."""
    cells: dict[str, dict[str, str]] = {}
    for number, column in enumerate(table.columns):
        texts = {str(row[number]).strip() for row in table.rows if row[number]} if column.kind is Kind.TEXT else set()
        if 0 < len(texts) <= VALUES_AT_MOST:
            cells[column.name] = {fold_value(text): text for text in texts}
    wanted = {folded for texts in cells.values() for folded in texts}
    unfolded = {text for texts in cells.values() for text in texts.values()}
    people, known = find_visible_people(by), defaultdict[str, set[str]](set)
    values = AttributeValue.objects.filter(user__in=people, folded__in=wanted)
    for attribute_id, folded in values.order_by("attribute").values_list("attribute", "folded").distinct():
        known[str(attribute_id)].add(folded)
    accounts = WeComAccount.objects.complete().filter(user__in=people, userid_folded__in=wanted)
    known["@userid"].update(accounts.values_list("userid_folded", flat=True))
    departments = Department.objects.visible_to(by).filter(removed_at=None, name__in=unfolded)
    known["@department"].update(fold_value(name or "") for name in departments.values_list("name", flat=True))
    shares = {
        (column, key): len(owned & texts.keys()) / len(texts)
        for column, texts in cells.items()
        for key, owned in known.items()
    }
    best = max(shares, key=shares.__getitem__, default=("", ""))
    return best if shares.get(best, 0) >= SHARE_AT_LEAST else None


def choose_card(request: HttpRequest) -> JsonResponse:
    """Return key and name of the data that reads a card of the BI; create this data if there is none."""
    if not request.user.has_perm(_NEW_CARD):
        raise PermissionDenied
    source = _find_bi_source(request)
    page_id, card_id = (request.POST.get(name, "") for name in ("page", "card"))
    if source is None or not card_id or max(len(page_id), len(card_id)) > ID_CHARACTERS:
        raise Http404
    known = Card.objects.filter(source=source, bi_page_id=page_id, bi_card_id=card_id).order_by("pk").first()
    if known is None:
        entries = _list_entries(catalogue.find_listing(page_id), "")
        name = next((name for entry_id, name, has_rows in entries if entry_id == card_id and has_rows), None)
        if name is None:
            raise Http404
        name = name[: NAME_CHARACTERS - 6]  # leaves room for a number
        taken = set(Card.objects.filter(source=source, name__startswith=name).values_list("name", flat=True))
        names = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 3))]  # numbered if it is taken
        known = Card.objects.create(
            source=source, name=next(one for one in names if one not in taken), bi_page_id=page_id, bi_card_id=card_id
        )
    return JsonResponse({"id": known.pk, "name": known.name})


def _list_entries(listing: Job | None, wanted: str) -> list[tuple[str, str, bool]]:
    """Return id, name and whether it has rows, for each matching page or card."""
    entries = catalogue.read_entries(listing)
    fitting = [one for one in entries if wanted.casefold() in f"{one.name}\n{one.entry_id}".casefold()]
    return [(one.entry_id, one.name or one.entry_id, one.kind not in WITHOUT_ROWS) for one in fitting]


def _find_bi_source(request: HttpRequest) -> DataSource | None:
    """Return the enabled BI source that the person sees; one for all companies comes first."""
    found = DataSource.objects.visible_to(request.user).filter(kind=SourceKind.GUANDATA, is_enabled=True)
    return found.order_by(F("corp").asc(nulls_first=True), "pk").first()


def _link_if_allowed(request: HttpRequest, permission: str, view: str) -> str:
    return reverse(f"admin:{view}") if request.user.has_perm(permission) else ""
