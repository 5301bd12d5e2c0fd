"""Pages and public API of the stand-in BI. Pages show who is signed in, and without a session redirect to the login."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from wecom_sandbox.bi import charts
from wecom_sandbox.bi.charts import GRAPH, GRID
from wecom_sandbox.http import bodies
from wecom_sandbox.pages.rendering import gettext_noop as _
from wecom_sandbox.pages.rendering import render
from wecom_sandbox.state.bi import Bi, BiCard, BiUser
from wecom_sandbox.state.world import WORLD

# Lifetime of an SSO token with a timestamp but no lifetime of its own. A timestamp may be this far ahead of the clock.
SSO_TOKEN_SECONDS = 300


class SignInRefused(Exception):
    """The sign-in is refused. `reason`: provider, key, token, claims, expired, early, domain or user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def find_user(bi: Bi, *, provider: str, token: str, now: float) -> BiUser:
    """Return the user whom a token signs in. Raise SignInRefused."""
    if provider != bi.provider:
        raise SignInRefused("provider")
    claims = _read_claims(open_token(token, _load_public_key(bi.public_key)))
    _check_time(bi, claims, now)
    if claims.get("domainId", bi.domain) != bi.domain:
        raise SignInRefused("domain")
    user = bi.user(str(claims.get("externalUserId", "")) or "\0")
    if user is None:
        raise SignInRefused("user")
    return user


def open_token(token: str, key: RSAPublicKey) -> bytes:
    """Return the content of a token: hex of base64 of blocks, each padded as 00 01 FF … FF 00. Raise SignInRefused."""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    try:
        encrypted = base64.b64decode(bytes.fromhex(token), validate=True)
    except (ValueError, binascii.Error):
        raise SignInRefused("token") from None
    if not encrypted or len(encrypted) % size:
        raise SignInRefused("token")
    blocks = (encrypted[start : start + size] for start in range(0, len(encrypted), size))
    return b"".join(
        _remove_padding(pow(int.from_bytes(one, "big"), numbers.e, numbers.n).to_bytes(size, "big")) for one in blocks
    )


def _remove_padding(block: bytes) -> bytes:
    padding, zero, text = block[2:].partition(b"\0")
    if block[:2] != b"\0\1" or not zero or len(padding) < 8 or set(padding) != {0xFF}:
        raise SignInRefused("token")
    return text


def _load_public_key(text: str) -> RSAPublicKey:
    try:
        if "-----BEGIN" in text:
            key: Any = load_pem_public_key(text.encode())
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split())))
    except (ValueError, binascii.Error):
        raise SignInRefused("key") from None
    if not isinstance(key, RSAPublicKey):
        raise SignInRefused("key")
    return key


def _read_claims(text: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        raise SignInRefused("claims") from None
    if not isinstance(claims, dict):
        raise SignInRefused("claims")
    return claims


def _check_time(bi: Bi, claims: dict[str, Any], now: float) -> None:
    issued_at, lifetime = claims.get("timestamp"), claims.get("expiredTimeSeconds", SSO_TOKEN_SECONDS)
    if issued_at is None:
        if not bi.accepts_forever:
            raise SignInRefused("expired")
        return
    if isinstance(issued_at, bool) or not isinstance(issued_at, int) or not isinstance(lifetime, int):
        raise SignInRefused("claims")
    if issued_at > now + SSO_TOKEN_SECONDS:
        raise SignInRefused("early")
    if now > issued_at + lifetime:
        raise SignInRefused("expired")


API_TOKEN_SECONDS = 3600
DEFAULT_LIMIT = 10
_WRONG_LOGIN, _UNAUTHORIZED, _NOT_FOUND, _BAD_REQUEST = 5001, 401, 404, 400


class _ApiFailure(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def add_api_routes(app: web.Application, root: str) -> None:
    app.router.add_post(f"{root}/public-api/sign-in", _make_api_handler(sign_in))
    app.router.add_post(f"{root}/public-api/page/list", _make_api_handler(list_pages))
    app.router.add_get(f"{root}/public-api/page/{{page_id}}", _make_api_handler(list_page_cards))
    app.router.add_post(f"{root}/public-api/card/{{card_id}}/data", _make_api_handler(read_card_data))


def _make_api_handler(handler: Any) -> Any:
    async def answer(request: web.Request) -> web.Response:
        try:
            document = bodies.parse_json(await request.read() or b"{}")
            if not isinstance(document, dict):
                raise _ApiFailure(_BAD_REQUEST, "the body is not an object")
            response = handler(request, request.app[WORLD].bi, document)
        except _ApiFailure as failure:
            error = {"status": failure.status, "message": failure.message, "detail": {}}
            return web.json_response({"result": "fail", "response": None, "error": error})
        except ValueError:
            error = {"status": _BAD_REQUEST, "message": "the body is not JSON", "detail": {}}
            return web.json_response({"result": "fail", "response": None, "error": error})
        return web.json_response({"result": "ok", "response": response})

    return answer


def sign_in(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, str]:
    """Return a token for `API_TOKEN_SECONDS`, whatever `expireAt` says. The password is base64. Raise _ApiFailure."""
    user = bi.user(str(document.get("loginId") or document.get("email") or "\0"))
    try:
        password = base64.b64decode(str(document.get("password", "")), validate=True).decode()
    except (ValueError, binascii.Error):
        password = ""
    if user is None or not user.password or password != user.password or document.get("domain") != bi.domain:
        raise _ApiFailure(_WRONG_LOGIN, "用户名或密码错误")
    now = request.app[WORLD].now()
    return {"token": bi.new_api_token(ends_at=now + API_TOKEN_SECONDS), "expireAt": "2099-12-31 23:59:59.000"}


def list_pages(request: web.Request, bi: Bi, document: dict[str, Any]) -> list[dict[str, Any]]:
    _check_app_token(bi, document.get("token"))
    return [
        {"pgId": page.page_id, "name": page.name, "description": "", "pgType": "PAGE", "parentDirId": None,
         "isDel": page.is_deleted}
        for page in bi.pages
    ]  # fmt: skip


def list_page_cards(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, Any]:
    _check_app_token(bi, request.headers.get("token"))
    page = bi.page(request.match_info["page_id"])
    if page is None:
        raise _ApiFailure(_NOT_FOUND, "页面不存在")
    cards = [{"cdId": card.card_id, "name": card.name, "cdType": card.kind} for card in page.cards]
    return {"pgId": page.page_id, "name": page.name, "cards": cards}


def read_card_data(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, Any]:
    """Return the rows `offset` to `offset + limit` of a card in the layout of `view`. Raise _ApiFailure."""
    if not bi.is_api_token(request.headers.get("X-Auth-Token", ""), now=request.app[WORLD].now()):
        raise _ApiFailure(_UNAUTHORIZED, "token 无效或已过期")
    card = bi.card(request.match_info["card_id"])
    if card is None:
        raise _ApiFailure(_NOT_FOUND, "卡片不存在")
    view = document.get("view", GRID)
    if view not in (GRID, GRAPH):
        raise _ApiFailure(_BAD_REQUEST, "view must be GRID or GRAPH")
    offset, limit = _read_count(document, "offset", 0), _read_count(document, "limit", DEFAULT_LIMIT)
    try:
        rows = charts.select_rows(card, document.get("filters", []), document.get("dynamicParams", []))
        chart = charts.draw_chart(card, rows, view)
    except charts.ChartError as refusal:
        raise _ApiFailure(_BAD_REQUEST, str(refusal)) from None
    main = {**charts.make_chart_part(chart, offset, limit), "limit": limit, "offset": offset}
    return {"view": view, "chartType": chart.kind, "cardType": card.kind, "chartMain": main}


def _read_count(document: dict[str, Any], name: str, default: int) -> int:
    value = document.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise _ApiFailure(_BAD_REQUEST, f"{name} must be a number")
    return value


def _check_app_token(bi: Bi, token: object) -> None:
    if not bi.app_token or token != bi.app_token:
        raise _ApiFailure(_UNAUTHORIZED, "应用 Token 无效")


ROOT = "/guandata"
COOKIE = "sandbox_bi"
SHOWN_ROWS = 12
# Delay of a card that is never drawn: longer than any browser waits.
NEVER_SECONDS = 3600
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REASONS = {
    "provider": _("provider differs from the one set up here."),
    "key": _("No public key is set up here, or it is not a public key."),
    "token": _("The token does not open with the public key that is set up here."),
    "claims": _("The token's content cannot be read."),
    "expired": _("The token has expired."),
    "early": _("The token's time is in the future: the clocks differ."),
    "domain": _("The token is for another domain."),
    "user": _("Nobody here has this externalUserId."),
}


def add_routes(app: web.Application) -> None:
    add_api_routes(app, ROOT)
    app.router.add_get(ROOT, _redirect_to_home)
    app.router.add_get(f"{ROOT}/login", show_login)
    app.router.add_post(f"{ROOT}/logout", logout)
    app.router.add_get(f"{ROOT}/page/{{page_id}}", _require_sign_in(show_dashboard))
    app.router.add_get(f"{ROOT}/m/page/{{page_id}}", _require_sign_in(show_phone_dashboard))
    app.router.add_get(f"{ROOT}/card/{{card_id}}", _require_sign_in(show_single_card))
    app.router.add_get(f"{ROOT}/drawn/{{card_id}}", show_drawn_card)
    app.router.add_get(f"{ROOT}/{{tail:.*}}", _require_sign_in(show_page_list))


def _require_sign_in(handler: Callable[[web.Request, Bi], web.Response]) -> _Handler:
    """Make a handler that signs in by the token in the URL, if any, and otherwise requires a session."""

    async def answer(request: web.Request) -> web.StreamResponse:
        bi = request.app[WORLD].bi
        if "ssoToken" in request.query:
            return _sign_in_by_token(request, bi)
        if bi.user_of_session(request.cookies.get(COOKIE, "")) is None:
            raise web.HTTPFound(f"{ROOT}/login")
        return handler(request, bi)

    return answer


def _sign_in_by_token(request: web.Request, bi: Bi) -> web.StreamResponse:
    query = request.query
    try:
        user = find_user(bi, provider=query.get("provider", ""), token=query["ssoToken"], now=request.app[WORLD].now())
    except SignInRefused as refusal:
        return render(request, "bi/refused.html", {"reason": REASONS[refusal.reason], "bi": bi}, status=401)
    other_query = [(name, value) for name, value in query.items() if name not in ("ssoToken", "provider")]
    response = web.HTTPFound(str(request.rel_url.with_query(other_query)))
    response.set_cookie(COOKIE, bi.open_session(user), path=ROOT, httponly=True, samesite="Lax")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


async def _redirect_to_home(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(str(request.rel_url.with_path(f"{ROOT}/")))


async def show_login(request: web.Request) -> web.StreamResponse:
    return render(request, "bi/login.html")


async def logout(request: web.Request) -> web.StreamResponse:
    response = web.HTTPFound(f"{ROOT}/login")
    response.del_cookie(COOKIE, path=ROOT)
    return response


def show_dashboard(request: web.Request, bi: Bi, *, on_phone: bool = False) -> web.Response:
    found = bi.page(request.match_info["page_id"])
    if found is None:
        return _render_page(request, bi, [], request.match_info["page_id"], on_phone=on_phone, status=404)
    if found.fails:
        return render(request, "bi/failed.html", status=500)
    return _render_page(request, bi, found.cards, found.name, on_phone=on_phone)


def show_phone_dashboard(request: web.Request, bi: Bi) -> web.Response:
    return show_dashboard(request, bi, on_phone=True)


def show_single_card(request: web.Request, bi: Bi) -> web.Response:
    card = bi.card(request.match_info["card_id"])
    name = card.name if card else request.match_info["card_id"]
    return _render_page(request, bi, [card] if card else [], name, status=200 if card else 404)


def show_page_list(request: web.Request, bi: Bi) -> web.Response:
    """Show the list of all pages, also for unknown paths."""
    return _render_page(request, bi, [], "", pages=[one for one in bi.pages if not one.is_deleted])


async def show_drawn_card(request: web.Request) -> web.Response:
    """Return the card as the person sees it, after its delay. The page's script asks for it."""
    bi = request.app[WORLD].bi
    user, card = bi.user_of_session(request.cookies.get(COOKIE, "")), bi.card(request.match_info["card_id"])
    if user is None or card is None:
        raise web.HTTPNotFound
    await asyncio.sleep(NEVER_SECONDS if card.draws_after is None else card.draws_after)
    return render(request, "bi/_card.html", {"card": _make_card_context(card, user)})


def _make_card_context(card: BiCard, user: BiUser) -> dict[str, object]:
    rows = user.rows_of(card)
    return {
        "source": card.source,
        "count": len(rows),
        "titles": [card.aliases.get(column, column) for column in card.columns],
        "rows": [[row.get(column) for column in card.columns] for row in rows[-SHOWN_ROWS:]],
    }


def _render_page(
    request: web.Request, bi: Bi, cards: list[BiCard], name: str, *, on_phone: bool = False, status: int = 200,
    pages: list[object] | None = None,
) -> web.Response:  # fmt: skip
    user = bi.user_of_session(request.cookies.get(COOKIE, ""))
    values = {
        "user": user,
        "name": name,
        "cards": [(card, _make_card_context(card, user) if card.draws_after == 0 and user else None) for card in cards],
        "on_phone": on_phone,
        "is_missing": status == 404,
        "path": request.path.removeprefix(ROOT),
        "query": request.query_string,
        "pages": pages,
        "root": ROOT,
    }
    return render(request, "bi/page.html", values, status=status)
