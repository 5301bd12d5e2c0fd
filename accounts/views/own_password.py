"""Changing one's own password in the administration."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import PasswordChangeView
from django.urls import reverse_lazy

from accounts.authentication.forms import OwnPasswordForm


class OwnPassword(PasswordChangeView):
    form_class = OwnPasswordForm
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}
