"""Signs people in by their WeCom identity. Permissions stay with django.contrib.auth's ModelBackend."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.authentication import services
from accounts.models import User
from integrations.core.client_factory import wecom_client
from integrations.models import Corp


class WeComBackend(BaseBackend):
    """`authenticate(request, corp=…, code=…)`; other credentials are other backends' business."""

    @sensitive_variables("code")
    def authenticate(  # type: ignore[override]  # Django picks a backend by its credentials' names
        self,
        request: HttpRequest | None,
        *,
        corp: Corp,
        code: services.AuthorizationCode,
        explain: Callable[[services.SignInRefused], None] | None = None,
    ) -> User:
        """The person whom `code` stands for. Ends the search where sign-in is refused, after telling `explain` why.

        Raises IntegrationError where WeCom did not answer, LoginRefusedError for a code that is not good (any more).
        """
        try:
            client = wecom_client(corp)
            return services.person_for_code(client=client, corp=corp, code=code, now=timezone.now())
        except services.SignInRefused as refusal:
            if explain is not None:
                explain(refusal)
            raise PermissionDenied(refusal.reason) from refusal

    def get_user(self, user_id: int) -> User | None:
        """The session's person, as long as active."""
        return User.objects.filter(pk=user_id, is_active=True).first()
