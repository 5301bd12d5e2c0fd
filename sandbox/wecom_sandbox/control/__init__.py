"""The control interface: what a test or a seeding program can do to the sandbox, as JSON over HTTP.

Listed in docs/en/sandbox.md. A write needs Content-Type application/json, which another site's page cannot send without
the sandbox's permission.
"""

from wecom_sandbox.control import companies, routes, system
from wecom_sandbox.control.routes import add_routes

__all__ = ["add_routes", "companies", "routes", "system"]
