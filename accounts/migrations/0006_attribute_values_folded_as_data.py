"""Attribute values are compared as the values of data are: full-width letters as ASCII ones, spaces once."""

from django.db import migrations

from integrations.data.figures import fold_text


def fold_values(apps, schema_editor):
    values = apps.get_model("accounts", "AttributeValue").objects.using(schema_editor.connection.alias)
    changed = []
    # A value of which each person has another one keeps its old form where the new one is taken.
    taken = set(values.filter(is_unique=True).values_list("attribute_id", "folded"))
    for row in values.iterator(chunk_size=2000):
        folded = fold_text(row.value)
        if folded == row.folded or (row.is_unique and (row.attribute_id, folded) in taken):
            continue
        if row.is_unique:
            taken.add((row.attribute_id, folded))
        row.folded = folded
        changed.append(row)
    values.bulk_update(changed, ["folded"], batch_size=1000)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_primary_accounts_that_receive")]

    operations = [migrations.RunPython(fold_values, migrations.RunPython.noop)]
