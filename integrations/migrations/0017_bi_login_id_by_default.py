from django.db import migrations, models


class Migration(migrations.Migration):
    """A connection that exists keeps by what people enter the BI."""

    dependencies = [
        ('integrations', '0016_admin_rights_after_wecom'),
    ]

    operations = [
        migrations.AlterField(
            model_name='biconnection',
            name='external_id_source',
            field=models.CharField(default='bi_login_id', help_text='Which value of a person here is the account there: it becomes externalUserId.', max_length=100, verbose_name='who somebody is in the BI'),
        ),
    ]
