"""For new databases: what the migrations up to 0002 make one after the other, at once."""

from django.db import migrations

from integrations.core.new_tables import NewTables

REPLACED = ("0001_initial", "0002_unsent_audit")


class Migration(migrations.Migration):
    initial = True
    replaces = [("accounts", name) for name in REPLACED]
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("axes", "0010_accessattemptexpiration"),
        ("integrations", "0001_initial"),
    ]
    operations = [NewTables("accounts", REPLACED)]
