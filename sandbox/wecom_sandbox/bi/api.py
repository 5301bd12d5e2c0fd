"""The stand-in's public API. It says by `result` whether a call succeeded; the HTTP status is always 200."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from aiohttp import web

from wecom_sandbox.bi import charts, conditions
from wecom_sandbox.bi.charts import GRAPH, GRID
from wecom_sandbox.http import strict_json
from wecom_sandbox.state.bi import Bi
from wecom_sandbox.state.keys import WORLD

TOKEN_SECONDS = 3600
LIMIT = 10
_WRONG_LOGIN, _NOT_ADMITTED, _NOT_FOUND, _BAD_REQUEST = 5001, 401, 404, 400


class _Failed(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def add_routes(app: web.Application, root: str) -> None:
    app.router.add_post(f"{root}/public-api/sign-in", _answering(sign_in))
    app.router.add_post(f"{root}/public-api/page/list", _answering(page_list))
    app.router.add_get(f"{root}/public-api/page/{{page_id}}", _answering(page_cards))
    app.router.add_post(f"{root}/public-api/card/{{card_id}}/data", _answering(card_data))


def _answering(handler: Any) -> Any:
    async def answer(request: web.Request) -> web.Response:
        try:
            document = strict_json.loads(await request.read() or b"{}")
            if not isinstance(document, dict):
                raise _Failed(_BAD_REQUEST, "the body is no object")
            response = handler(request, request.app[WORLD].bi, document)
        except _Failed as failed:
            error = {"status": failed.status, "message": failed.message, "detail": {}}
            return web.json_response({"result": "fail", "response": None, "error": error})
        except ValueError:
            error = {"status": _BAD_REQUEST, "message": "the body is no JSON", "detail": {}}
            return web.json_response({"result": "fail", "response": None, "error": error})
        return web.json_response({"result": "ok", "response": response})

    return answer


def sign_in(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, str]:
    """A token for `TOKEN_SECONDS`; the password comes in base64. Raises _Failed."""
    user = bi.user(str(document.get("loginId") or document.get("email") or "\0"))
    try:
        password = base64.b64decode(str(document.get("password", "")), validate=True).decode()
    except (ValueError, binascii.Error):
        password = ""
    if user is None or not user.password or password != user.password or document.get("domain") != bi.domain:
        raise _Failed(_WRONG_LOGIN, "用户名或密码错误")
    now = request.app[WORLD].now()
    return {"token": bi.new_token(ends_at=now + TOKEN_SECONDS), "expireAt": "2099-12-31 23:59:59.000"}


def page_list(request: web.Request, bi: Bi, document: dict[str, Any]) -> list[dict[str, Any]]:
    _check_app_token(bi, document.get("token"))
    return [
        {"pgId": page.page_id, "name": page.name, "description": "", "pgType": "PAGE", "parentDirId": None,
         "isDel": page.is_deleted}
        for page in bi.pages
    ]  # fmt: skip


def page_cards(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, Any]:
    _check_app_token(bi, request.headers.get("token"))
    page = bi.page(request.match_info["page_id"])
    if page is None:
        raise _Failed(_NOT_FOUND, "页面不存在")
    cards = [{"cdId": card.card_id, "name": card.name, "cdType": card.kind} for card in page.cards]
    return {"pgId": page.page_id, "name": page.name, "cards": cards}


def card_data(request: web.Request, bi: Bi, document: dict[str, Any]) -> dict[str, Any]:
    """Rows `offset` to `offset + limit` of a card, as a table or as its chart. Raises _Failed."""
    if not bi.is_token(request.headers.get("X-Auth-Token", ""), now=request.app[WORLD].now()):
        raise _Failed(_NOT_ADMITTED, "token 无效或已过期")
    card = bi.card(request.match_info["card_id"])
    if card is None:
        raise _Failed(_NOT_FOUND, "卡片不存在")
    view = document.get("view", GRID)
    if view not in (GRID, GRAPH):
        raise _Failed(_BAD_REQUEST, "view must be GRID or GRAPH")
    offset, limit = _count(document, "offset", 0), _count(document, "limit", LIMIT)
    try:
        rows = conditions.chosen(card, document.get("filters", []), document.get("dynamicParams", []))
        chart = charts.drawn(card, rows, view)
    except conditions.NotUnderstood as refusal:
        raise _Failed(_BAD_REQUEST, str(refusal)) from None
    main = {**charts.part(chart, offset, limit), "limit": limit, "offset": offset}
    return {"view": view, "chartType": chart.kind, "cardType": card.kind, "chartMain": main}


def _count(document: dict[str, Any], name: str, usual: int) -> int:
    value = document.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
        raise _Failed(_BAD_REQUEST, f"{name} must be a number")
    return value


def _check_app_token(bi: Bi, token: object) -> None:
    if not bi.app_token or token != bi.app_token:
        raise _Failed(_NOT_ADMITTED, "应用 Token 无效")
