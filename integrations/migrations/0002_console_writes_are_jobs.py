from django.db import migrations


def delete_former_jobs(apps, schema_editor):
    """Delete jobs whose key is a former row: one check of a company, or one change in WeCom's console."""
    apps.get_model("integrations", "Job").objects.filter(kind__in=["corp.check", "console.write"]).delete()


class Migration(migrations.Migration):
    """Previews and writes of WeCom's console are rows of Job."""

    dependencies = [("integrations", "0001_initial")]

    operations = [
        migrations.RunPython(delete_former_jobs, migrations.RunPython.noop, elidable=True),
        migrations.DeleteModel(name="ConsoleWrite"),
    ]
