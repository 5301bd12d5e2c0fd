from django.db import migrations


class Migration(migrations.Migration):
    """Previews and writes of WeCom's console are rows of Job."""

    dependencies = [("integrations", "0001_initial")]

    operations = [migrations.DeleteModel(name="ConsoleWrite")]
