"""Saving a page of the admin as a browser does, with the version that it was opened with."""

from __future__ import annotations

from typing import Any

from django.test import Client


def version_on(client: Client, url: str) -> str:
    """Return the hidden version of a page, or "" if it has no form to save."""
    form: Any = (client.get(url).context or {}).get("adminform")
    return form.form["page_version"].value() if form is not None and "page_version" in form.form.fields else ""
