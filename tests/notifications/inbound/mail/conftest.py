"""A channel that tells its sender whom it did not reach, and a person."""

import pytest

from accounts.models import User
from integrations.models import Corp
from notifications.inbound.mail.parse import MailRules
from notifications.models import InboundChannel
from tests.notifications.factories import make_manager, make_person
from tests.notifications.inbound.channels import make_mail_channel


@pytest.fixture
def channel(corp: Corp) -> InboundChannel:
    return make_mail_channel(make_manager(corp), rules=MailRules(tells_sender=True, mail_domains=("example.com",)))[0]


@pytest.fixture
def zhang(corp: Corp) -> User:
    return make_person(corp, "ZhangWei", username="zw", name="张伟", email="Zhang.Wei@corp.example.com")
