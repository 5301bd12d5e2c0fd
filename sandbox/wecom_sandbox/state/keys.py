"""Where the web application keeps what its handlers share."""

from __future__ import annotations

from aiohttp import web

from wecom_sandbox.http.authority import Authority
from wecom_sandbox.state.world import World

WORLD = web.AppKey("world", World)
# None: there is no port with TLS.
AUTHORITY = web.AppKey[Authority | None]("authority")
