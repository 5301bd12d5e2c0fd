import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0022_late_clicks'),
    ]

    operations = [
        migrations.AddField(
            model_name='alertrule',
            name='absent',
            field=models.JSONField(default=dict, editable=False),
        ),
        migrations.AddField(
            model_name='alertrule',
            name='absent_checks',
            field=models.PositiveSmallIntegerField(default=0, help_text='0: never, since nobody knows how it stands. 1 or more where the data lists only what is wrong, so that what is missing is well.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='a value that is not in the data is over after (checks)'),
        ),
    ]
