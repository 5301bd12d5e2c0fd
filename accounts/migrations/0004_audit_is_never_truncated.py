"""The database refuses to empty the audit trail at once, too: TRUNCATE asks no trigger that looks at rows."""

from django.db import migrations

TRIGGER = """
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON accounts_auditentry
FOR EACH STATEMENT EXECUTE FUNCTION accounts_auditentry_is_append_only()
"""


def add(apps, schema_editor):
    schema_editor.execute(TRIGGER)


def remove(apps, schema_editor):
    schema_editor.execute("DROP TRIGGER never_truncated ON accounts_auditentry")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_append_only_audit")]

    operations = [migrations.RunPython(add, remove)]
