from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0025_self_pausing")]

    operations = [
        migrations.AlterField(
            model_name="incidentevent",
            name="note",
            field=models.TextField(blank=True, verbose_name="note"),
        ),
    ]
