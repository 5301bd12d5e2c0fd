"""The stand-in's pages: who came in, on which page, in which form. Without a session: its sign-in page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from wecom_sandbox.bi import api, tokens
from wecom_sandbox.pages.rendering import page
from wecom_sandbox.pages.translation import gettext_noop as _
from wecom_sandbox.state.bi import Bi, BiCard, BiUser
from wecom_sandbox.state.keys import WORLD

ROOT = "/guandata"
COOKIE = "sandbox_bi"
SHOWN_ROWS = 12
# A card that is never drawn: longer than any browser waits.
NEVER_SECONDS = 3600
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REASONS = {
    "provider": _("provider is another than the one set up here."),
    "key": _("No public key is set up here, or what is set up is none."),
    "token": _("The token does not open with the public key that is set up here."),
    "claims": _("What the token holds cannot be read."),
    "expired": _("The token has expired."),
    "early": _("The token is of a time to come: the clocks differ."),
    "domain": _("The token is for another domain."),
    "user": _("Nobody here has this externalUserId."),
}


def add_routes(app: web.Application) -> None:
    api.add_routes(app, ROOT)
    app.router.add_get(ROOT, _to_home)
    app.router.add_get(f"{ROOT}/login", login)
    app.router.add_post(f"{ROOT}/logout", logout)
    app.router.add_get(f"{ROOT}/page/{{page_id}}", _signed_in(dashboard))
    app.router.add_get(f"{ROOT}/m/page/{{page_id}}", _signed_in(phone_dashboard))
    app.router.add_get(f"{ROOT}/card/{{card_id}}", _signed_in(single_card))
    app.router.add_get(f"{ROOT}/drawn/{{card_id}}", drawn_card)
    app.router.add_get(f"{ROOT}/{{tail:.*}}", _signed_in(elsewhere))


def _signed_in(handler: Callable[[web.Request, Bi], web.Response]) -> _Handler:
    """A token signs in first, then leaves the address; without token and session: the sign-in page."""

    async def answer(request: web.Request) -> web.StreamResponse:
        bi = request.app[WORLD].bi
        if "ssoToken" in request.query:
            return _entered(request, bi)
        if bi.user_of_session(request.cookies.get(COOKIE, "")) is None:
            raise web.HTTPFound(f"{ROOT}/login")
        return handler(request, bi)

    return answer


def _entered(request: web.Request, bi: Bi) -> web.StreamResponse:
    query = request.query
    try:
        user = tokens.signed_in(
            bi, provider=query.get("provider", ""), token=query["ssoToken"], now=request.app[WORLD].now()
        )
    except tokens.Refused as refusal:
        return page(request, "bi/refused.html", {"reason": REASONS[refusal.reason], "bi": bi}, status=401)
    kept = [(name, value) for name, value in query.items() if name not in ("ssoToken", "provider")]
    response = web.HTTPFound(str(request.rel_url.with_query(kept)))
    response.set_cookie(COOKIE, bi.open_session(user), path=ROOT, httponly=True, samesite="Lax")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


async def _to_home(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(str(request.rel_url.with_path(f"{ROOT}/")))


async def login(request: web.Request) -> web.StreamResponse:
    return page(request, "bi/login.html")


async def logout(request: web.Request) -> web.StreamResponse:
    response = web.HTTPFound(f"{ROOT}/login")
    response.del_cookie(COOKIE, path=ROOT)
    return response


def dashboard(request: web.Request, bi: Bi, *, on_phone: bool = False) -> web.Response:
    found = bi.page(request.match_info["page_id"])
    if found is None:
        return _shown(request, bi, [], request.match_info["page_id"], on_phone=on_phone, status=404)
    if found.fails:
        return page(request, "bi/failed.html", status=500)
    return _shown(request, bi, found.cards, found.name, on_phone=on_phone)


def phone_dashboard(request: web.Request, bi: Bi) -> web.Response:
    return dashboard(request, bi, on_phone=True)


def single_card(request: web.Request, bi: Bi) -> web.Response:
    card = bi.card(request.match_info["card_id"])
    name = card.name if card else request.match_info["card_id"]
    return _shown(request, bi, [card] if card else [], name, status=200 if card else 404)


def elsewhere(request: web.Request, bi: Bi) -> web.Response:
    """The first page with the list of all, and whatever other path a link names."""
    return _shown(request, bi, [], "", pages=[one for one in bi.pages if not one.is_deleted])


async def drawn_card(request: web.Request) -> web.Response:
    """What the page's script asks for: the card as the person sees it, after its time."""
    bi = request.app[WORLD].bi
    user, card = bi.user_of_session(request.cookies.get(COOKIE, "")), bi.card(request.match_info["card_id"])
    if user is None or card is None:
        raise web.HTTPNotFound
    await asyncio.sleep(NEVER_SECONDS if card.draws_after is None else card.draws_after)
    return page(request, "bi/_card.html", {"card": _drawn(card, user)})


def _drawn(card: BiCard, user: BiUser) -> dict[str, object]:
    rows = user.rows_of(card)
    return {
        "source": card.source,
        "count": len(rows),
        "titles": [card.aliases.get(column, column) for column in card.columns],
        "rows": [[row.get(column) for column in card.columns] for row in rows[-SHOWN_ROWS:]],
    }


def _shown(
    request: web.Request, bi: Bi, cards: list[BiCard], name: str, *, on_phone: bool = False, status: int = 200,
    pages: list[object] | None = None,
) -> web.Response:  # fmt: skip
    user = bi.user_of_session(request.cookies.get(COOKIE, ""))
    values = {
        "user": user,
        "name": name,
        "cards": [(card, _drawn(card, user) if card.draws_after == 0 and user else None) for card in cards],
        "on_phone": on_phone,
        "is_missing": status == 404,
        "path": request.path.removeprefix(ROOT),
        "query": request.query_string,
        "pages": pages,
        "root": ROOT,
    }
    return page(request, "bi/page.html", values, status=status)
