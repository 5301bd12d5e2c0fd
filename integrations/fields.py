"""A text column that is encrypted at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

if TYPE_CHECKING:
    TextField = models.TextField[str, str]
else:
    TextField = models.TextField


def cipher() -> MultiFernet:
    """The cipher of settings.FIELD_ENCRYPTION_KEYS: the first key encrypts, every key decrypts."""
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


class EncryptedTextField(TextField):
    """Text, encrypted with settings.FIELD_ENCRYPTION_KEYS on its way into the database.

    An empty text stays empty. Each saving gives another ciphertext, so look-ups by value are refused.
    Reading a value that no key opens raises ImproperlyConfigured, naming the setting and never the value.
    """

    def get_prep_value(self, value: Any) -> Any:
        text = super().get_prep_value(value)
        return cipher().encrypt(text.encode()).decode() if text else text

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if not value:
            return value
        try:
            return cipher().decrypt(value.encode()).decode()
        except InvalidToken as error:
            message = f"{self.model.__name__}.{self.name}: no key of FIELD_ENCRYPTION_KEYS opens the stored value"
            raise ImproperlyConfigured(message) from error

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise TypeError(f"{self.name} is encrypted: it cannot be searched by value")
