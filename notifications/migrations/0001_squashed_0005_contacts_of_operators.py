"""For new databases: what the migrations up to 0005 make one after the other, at once."""

from django.conf import settings
from django.db import migrations

from integrations.core.new_tables import NewTables

REPLACED = (
    "0001_initial",
    "0002_messages_of_other_systems",
    "0003_page_pictures",
    "0004_broken_alert_rules",
    "0005_contacts_of_operators",
)


class Migration(migrations.Migration):
    initial = True
    replaces = [("notifications", name) for name in REPLACED]
    dependencies = [
        ("accounts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("integrations", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [NewTables("notifications", REPLACED)]
