from django.core.exceptions import ImproperlyConfigured
from django.db import migrations, models


def let_databases_stay_where_they_are(apps, schema_editor):
    """Until now databases were reached wherever they lie. Which those are is listed: the list's filter shows them."""
    sources = apps.get_model("integrations", "DataSource").objects
    for pk in sources.filter(kind="sql").values_list("pk", flat=True):
        try:
            is_file = sources.values_list("sql_url", flat=True).get(pk=pk).startswith("sqlite")
        except ImproperlyConfigured:  # no key opens it
            is_file = False
        if not is_file:
            sources.filter(pk=pk).update(allows_private_addresses=True)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0018_staged_credentials")]

    operations = [
        migrations.AddField(
            model_name="datasource",
            name="account_powers",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=40),
        ),
        migrations.AddField(
            model_name="datasource",
            name="account_checked_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="datasource",
            name="allows_private_addresses",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Only a superuser may tick this: it lets the source be at addresses that the internet does not see.",
                verbose_name="may lie in the internal network",
            ),
        ),
        migrations.RunPython(let_databases_stay_where_they_are, migrations.RunPython.noop),
    ]
