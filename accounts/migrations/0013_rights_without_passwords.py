from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.models import F


def keep_the_only_way_in(apps: Any, schema_editor: Any) -> None:
    """Where passwords are switched off, superusers go on entering by the companies that have signed them in."""
    alias = schema_editor.connection.alias
    if not apps.get_model("accounts", "SignInPolicy").objects.using(alias).filter(password_enabled=False).exists():
        return
    accounts = apps.get_model("accounts", "WeComAccount").objects.using(alias)
    proven = accounts.filter(proven_corp_id=F("corp_id"), proven_userid=F("userid_folded"), user__is_superuser=True)
    corps = apps.get_model("integrations", "Corp").objects.using(alias)
    corps.filter(pk__in=proven.values("corp_id")).update(admin_rights_enabled=True)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0012_people_exports"),
        ("integrations", "0016_admin_rights_after_wecom"),
    ]

    operations = [migrations.RunPython(keep_the_only_way_in, migrations.RunPython.noop)]
