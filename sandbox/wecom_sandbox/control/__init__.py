"""The control interface: everything that a test or a seeding program does to the sandbox, as JSON over HTTP.

Listed in docs/en/sandbox.md. A write needs Content-Type application/json, which a page of another site cannot send
without the sandbox's leave.
"""

from wecom_sandbox.control import entities, routes, whole
from wecom_sandbox.control.routes import add_routes

__all__ = ["add_routes", "entities", "routes", "whole"]
