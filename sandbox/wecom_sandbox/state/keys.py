"""Where the web application keeps what its handlers share."""

from __future__ import annotations

from aiohttp import web

from wecom_sandbox.state.world import World

WORLD = web.AppKey("world", World)
