from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("notifications", "0001_initial")]

    operations = [
        migrations.RemoveIndex("delivery", "delivery_uploaded"),
        migrations.RemoveField("delivery", "media_until"),
    ]
