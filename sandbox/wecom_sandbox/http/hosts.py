"""The names under which the sandbox answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Middleware

# WeCom's own, which many programs have written into them. Only the port with TLS answers to them.
WECOM_HOSTS = (
    "qyapi.weixin.qq.com",
    "open.weixin.qq.com",
    "login.work.weixin.qq.com",
    "open.work.weixin.qq.com",
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


def is_loopback(host: str) -> bool:
    """Whether the sandbox may listen there: it has no passwords and answers for companies."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def is_everywhere(host: str) -> bool:
    """Whether it stands for all addresses of the machine."""
    with suppress(ValueError):
        return ip_address(host).is_unspecified
    return False


def checked(name: str) -> str:
    """A host name or an IP address in small letters, without scheme and port. Raises ValueError."""
    lowered = name.lower()
    with suppress(ValueError):
        return str(ip_address(lowered))
    if not _NAME.fullmatch(lowered):
        raise ValueError(f"{name} is not the name of a host (without scheme and port)")
    return lowered


def guard(allowed: Iterable[str] = ()) -> Middleware:
    """Refuse names that another site's page could have pointed here (DNS rebinding), with 421.

    `allowed`: names beside the loopback ones, as `checked` gives them.
    """
    plain = frozenset({*LOOPBACK_NAMES, *allowed})
    secure = plain | set(WECOM_HOSTS)

    @web.middleware
    async def answer(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if _name_of(request.host) not in (secure if request.secure else plain):
            raise web.HTTPMisdirectedRequest(
                text="The sandbox answers on loopback names only, and on those of --allow-host.\n"
            )
        return await handler(request)

    return answer


def _name_of(host: str) -> str:
    """The Host header without its port and brackets."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower().removeprefix("[").removesuffix("]")
