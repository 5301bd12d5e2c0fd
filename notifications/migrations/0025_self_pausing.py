import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0024_pictures_of_incidents")]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="pauses_after_failures",
            field=models.PositiveSmallIntegerField(
                db_default=5,
                default=5,
                help_text="After so many runs that reached nobody it is disabled, and its owner is told. What waits for a company does not count. 0: never.",
                validators=[django.core.validators.MaxValueValidator(100)],
                verbose_name="pause after failed runs in a row",
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="failures_paused_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="subscription",
            name="failures_counted_from",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
