from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0016_authenticator_apps'),
    ]

    operations = [
        migrations.AddField(
            model_name='totpdevice',
            name='is_independent',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
