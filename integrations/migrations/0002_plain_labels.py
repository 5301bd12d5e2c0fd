"""Labels, help texts and choices in plain English. The database does not change."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('integrations', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='biconnection',
            name='api_login',
            field=models.CharField(blank=True, help_text='Login name or e-mail of the BI user that reads the data. Optional.', max_length=128, verbose_name='API user'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='base_url',
            field=models.CharField(blank=True, help_text='The address that people open in the browser, without a page: https://bi.example.com.', max_length=255, verbose_name='address of the BI'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='domain_id',
            field=models.CharField(blank=True, help_text='Only for versions before 5.9, usually guanbi.', max_length=64, verbose_name='domainId'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='external_id_source',
            field=models.CharField(default='bi_login_id', help_text='The value of a person that is their account in the BI. It is sent as externalUserId.', max_length=100, verbose_name='identity in the BI'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='is_enabled',
            field=models.BooleanField(default=False, help_text='Off: nobody is signed in to the BI, and every link leads to a page of this site.', verbose_name='people can open the BI from this site'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='phone_page',
            field=models.CharField(blank=True, default='/m/page/{id}?pageRenderType=phoneView', help_text='Empty: the same as on a computer. {id} stands for the page.', max_length=200, verbose_name='page on a phone'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='provider',
            field=models.CharField(default='guanbi', help_text='The name of the sign-on provider, exactly as in the BI. Since December 2019 it is the domain ID.', max_length=64, verbose_name='provider'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='routed_paths',
            field=models.CharField(blank=True, default='survey-engine', help_text='Beginnings of paths that the BI opens only through its first page, separated by commas. Its forms are an example: /?path_url=survey-engine/…', max_length=200, verbose_name='pages behind path_url'),
        ),
        migrations.AlterField(
            model_name='biconnection',
            name='token_seconds',
            field=models.PositiveSmallIntegerField(default=60, help_text='From 10 to 300. A token is made at the click and used at once: make it as short as the clocks allow.', validators=[django.core.validators.MinValueValidator(10), django.core.validators.MaxValueValidator(300)], verbose_name='lifetime of a token (seconds)'),
        ),
        migrations.AlterField(
            model_name='card',
            name='as_of_column',
            field=models.CharField(blank=True, max_length=200, verbose_name='column with the time of the data'),
        ),
        migrations.AlterField(
            model_name='card',
            name='bi_view',
            field=models.CharField(choices=[('GRID', 'as a table (GRID)'), ('GRAPH', 'as the chart draws it (GRAPH)')], default='GRID', max_length=5, verbose_name='how it is read'),
        ),
        migrations.AlterField(
            model_name='carddata',
            name='requested_at',
            field=models.DateTimeField(verbose_name='requested'),
        ),
        migrations.AlterField(
            model_name='carddata',
            name='slot_at',
            field=models.DateTimeField(null=True, verbose_name='scheduled for'),
        ),
        migrations.AlterField(
            model_name='carddata',
            name='took_milliseconds',
            field=models.PositiveIntegerField(default=0, verbose_name='duration (ms)'),
        ),
        migrations.AlterField(
            model_name='checkrun',
            name='caller_ip',
            field=models.GenericIPAddressField(null=True, verbose_name='address of this server as WeCom saw it'),
        ),
        migrations.AlterField(
            model_name='checkrun',
            name='status',
            field=models.CharField(choices=[('waiting', 'waiting'), ('running', 'running'), ('ok', 'in order'), ('warning', 'needs attention'), ('wrong', 'wrong'), ('skipped', 'not tried')], default='waiting', max_length=16, verbose_name='status'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='admin_rights_enabled',
            field=models.BooleanField(db_default=False, default=False, help_text="On: superusers, and administrators of more than this company, may use their rights after a sign-in with WeCom through this company. Off: they enter the administration with their password. The people who control this company's app, console or directory in WeCom decide who somebody is there, so leave it off unless they may have every right here. On for the first company, also when others are added.", verbose_name="administrators' rights after a sign-in with WeCom"),
        ),
        migrations.AlterField(
            model_name='corp',
            name='bi_sign_in_enabled',
            field=models.BooleanField(default=True, help_text='Whether people of this company can open the BI from this site, once a BI is connected.', verbose_name='sign-in to the BI'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='department_root_ids',
            field=models.JSONField(blank=True, default=list, help_text='IDs of the departments to copy, separated by commas. Empty: every department that the app sees.', verbose_name='department roots'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='home_page',
            field=models.CharField(choices=[('ours', 'the home page of this site'), ('bi', 'the BI, or a page of it')], default='ours', help_text='The page that opens when somebody taps the app, or signs in without asking for a certain page.', max_length=8, verbose_name='home page'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='name',
            field=models.CharField(error_messages={'unique': 'Another WeCom company has this name already. People could not tell them apart.'}, help_text='Shown to people who choose a company.', max_length=64, unique=True, verbose_name='WeCom company name'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='noted_ips',
            field=models.JSONField(blank=True, default=list, help_text='Separated by semicolons. Only needed with several outgoing addresses, or before WeCom has refused one.', verbose_name='public addresses of this server'),
        ),
        migrations.AlterField(
            model_name='corp',
            name='sign_in_enabled',
            field=models.BooleanField(default=True, help_text="Off: people only receive pushes; the app's home page is the plain address of the login page.", verbose_name='sign-in with WeCom'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='allows_private_addresses',
            field=models.BooleanField(db_default=False, default=False, help_text='Only a superuser may tick this. It allows addresses that the internet cannot reach.', verbose_name='may be in the internal network'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='corp',
            field=models.ForeignKey(blank=True, help_text='Administrators and editors of this company may use it. Empty: only people who see all companies.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='data_sources', to='integrations.corp', verbose_name='company'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='is_enabled',
            field=models.BooleanField(default=True, help_text='Off: no data is fetched. Pushes and alerts that need it say so.', verbose_name='enabled'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='parallel_limit',
            field=models.PositiveSmallIntegerField(default=2, help_text='From 1 to 16. Further queries wait, so that a slow source does not delay other sources.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(16)], verbose_name='parallel queries'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='row_limit',
            field=models.PositiveIntegerField(default=10000, help_text='From 1 to 100,000. Of a longer answer only the first rows are kept, and the message says so.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)], verbose_name='maximum number of rows'),
        ),
        migrations.AlterField(
            model_name='datasource',
            name='timeout_seconds',
            field=models.PositiveSmallIntegerField(default=30, help_text='From 1 to 120, for one whole answer. A slower query counts as failed.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(120)], verbose_name='time limit in seconds'),
        ),
        migrations.AlterField(
            model_name='department',
            name='removed_at',
            field=models.DateTimeField(null=True, verbose_name='gone since'),
        ),
        migrations.AlterField(
            model_name='member',
            name='left_at',
            field=models.DateTimeField(null=True, verbose_name='gone since'),
        ),
        migrations.AlterField(
            model_name='member',
            name='presence',
            field=models.CharField(choices=[('here', "in the app's scope"), ('out_of_scope', 'out of scope'), ('deleted', 'deleted in WeCom'), ('missing', 'not found, reason unknown')], default='here', max_length=16, verbose_name='presence'),
        ),
        migrations.AlterField(
            model_name='member',
            name='waits_since',
            field=models.DateTimeField(null=True, verbose_name='waiting for an administrator since'),
        ),
        migrations.AlterField(
            model_name='siteaddress',
            name='url',
            field=models.CharField(error_messages={'unique': 'This site address exists already.'}, help_text='The address at which employees reach this site, with scheme and, if needed, port: https://bi.example.com/.', max_length=255, unique=True, verbose_name='site address'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='seen_count',
            field=models.PositiveIntegerField(default=0, verbose_name='people read'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='status',
            field=models.CharField(choices=[('waiting', 'waiting'), ('running', 'running'), ('asking', 'waits for your confirmation'), ('done', 'done'), ('failed', 'stopped'), ('refused', 'refused by an administrator'), ('overtaken', 'replaced by a later run')], default='waiting', max_length=16, verbose_name='status'),
        ),
    ]

    def apply(self, project_state, schema_editor, collect_sql=False):
        """Change the state alone. With rendered models Django would render them anew for each label."""
        project_state.__dict__.pop('apps', None)
        return self.mutate_state(project_state, preserve=False)
