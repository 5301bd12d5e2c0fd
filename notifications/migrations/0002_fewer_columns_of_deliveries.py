from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0001_initial")]

    operations = [
        migrations.RemoveIndex("delivery", "delivery_uploaded"),
        migrations.RemoveField("delivery", "media_until"),
        migrations.RemoveField("alertrule", "owner_notice"),
        migrations.AlterField(
            "receipt",
            "status",
            models.CharField(
                blank=True,
                choices=[("invalid", "invalid account"), ("unlicensed", "no licence"), ("skipped", "skipped")],
                max_length=16,
                verbose_name="status",
            ),
        ),
    ]
