"""The database itself refuses to change entries of the audit trail, or to delete them but for those that are too old.

Who has the database's own rights can take this away; nobody who has the product's can.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION accounts_auditentry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('guanwecom.removes_old_audit', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
TRIGGER = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
FOR EACH ROW EXECUTE FUNCTION accounts_auditentry_is_append_only()
"""


def add(apps, schema_editor):
    schema_editor.execute(FUNCTION)
    schema_editor.execute(TRIGGER)


def remove(apps, schema_editor):
    schema_editor.execute("DROP TRIGGER append_only ON accounts_auditentry")
    schema_editor.execute("DROP FUNCTION accounts_auditentry_is_append_only")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_unsent_audit")]

    operations = [migrations.RunPython(add, remove)]
