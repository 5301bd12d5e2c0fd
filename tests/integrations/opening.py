"""Saving a page of the admin as a browser does it: with what the page carried when it was opened."""

from __future__ import annotations

from typing import Any

from django.test import Client


def version_on(client: Client, url: str) -> str:
    """The hidden value by which the page remembers what it showed; empty where it is not a form to save."""
    form: Any = (client.get(url).context or {}).get("adminform")
    return form.form["page_version"].value() if form is not None and "page_version" in form.form.fields else ""
