"""Show or set the default site address on the server, for access after a wrong one was saved."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from integrations.companies.services import save_site_address
from integrations.core.validators import normalise_site_address
from integrations.models import SiteAddress


class Command(BaseCommand):
    help = "Print the default site address; with an argument, set it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", nargs="?", help="scheme and host, as https://bi.example.com/")

    def handle(self, *args: Any, **options: Any) -> None:
        address = SiteAddress.objects.default()
        if options["url"] is not None:
            try:
                address.url = normalise_site_address(options["url"])
                address.full_clean()
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from error
            save_site_address(address=address)
        self.stdout.write(address.url)
