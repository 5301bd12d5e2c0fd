from __future__ import annotations

from typing import Any

from django.db import migrations, models


def switch_on_for_an_only_company(apps: Any, schema_editor: Any) -> None:
    """As before where one company is all there is; several companies' superusers give their password."""
    corps = apps.get_model("integrations", "Corp").objects.using(schema_editor.connection.alias)
    if corps.count() == 1:
        corps.update(admin_rights_enabled=True)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0015_heartbeats")]

    operations = [
        migrations.AddField(
            model_name="corp",
            name="admin_rights_enabled",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text=(
                    "On: superusers, and administrators of more than this company, may use their rights after a sign-in "
                    "with WeCom through this company. Off: they enter the administration with their password. Whoever "
                    "controls this company's app, console or directory in WeCom decides who somebody is there, so leave "
                    "it off unless these people may have every right here. On for the first company; it stays as it is "
                    "when others are added."
                ),
                verbose_name="administrators' rights after a sign-in with WeCom",
            ),
        ),
        migrations.RunPython(switch_on_for_an_only_company, migrations.RunPython.noop),
    ]
