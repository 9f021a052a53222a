import django.db.models.deletion
import langbot.lib.fields
import langbot.lib.ids
from django.db import migrations, models


def list_known_plugins(apps, schema_editor):
    """Give every plugin that was connected before a row of its own."""
    runners = apps.get_model("langbot_agents", "RunnerDescriptor")
    plugins = apps.get_model("langbot_agents", "Plugin")
    for runner in runners.objects.exclude(plugin="").order_by("pk").iterator():
        plugins.objects.get_or_create(
            name=runner.plugin,
            defaults={
                "workspace_id": runner.workspace_id,
                "version": runner.version,
                "last_seen_at": runner.last_seen_at,
            },
        )


class Migration(migrations.Migration):

    dependencies = [
        ('langbot_agents', '0003_plugin_storage'),
        ('langbot_core', '0002_permissions_and_audit_seals'),
    ]

    operations = [
        migrations.CreateModel(
            name='PackageProcess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_wanted', models.BooleanField(default=True, verbose_name='is to run')),
                ('restart', models.PositiveIntegerField(default=0, editable=False)),
                ('is_removing', models.BooleanField(default=False, verbose_name='is being removed')),
                ('secret', langbot.lib.fields.EncryptedTextField(blank=True, verbose_name='plain text of the token')),
                ('status', models.CharField(choices=[('stopped', 'stopped'), ('running', 'running'), ('restarting', 'restarts soon')], default='stopped', max_length=10, verbose_name='process')),
                ('reason', models.CharField(blank=True, max_length=200, verbose_name='reason')),
                ('failures', models.PositiveIntegerField(default=0, verbose_name='ended by itself')),
                ('started_at', models.DateTimeField(null=True, verbose_name='started')),
                ('log_tail', models.TextField(blank=True, verbose_name='end of its log')),
            ],
            options={
                'verbose_name': 'package',
                'verbose_name_plural': 'packages',
            },
        ),
        migrations.CreateModel(
            name='PackageVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=langbot.lib.ids.uuid7, editable=False, unique=True, verbose_name='id')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('version', models.CharField(max_length=50, verbose_name='version')),
                ('sha256', models.CharField(max_length=64, verbose_name='SHA-256')),
                ('size', models.PositiveBigIntegerField(verbose_name='size (bytes)')),
                ('status', models.CharField(choices=[('waiting', 'waits to be built'), ('building', 'is being built'), ('ready', 'built'), ('failed', 'not built'), ('removed', 'removed')], default='waiting', max_length=10, verbose_name='status')),
                ('build_log', models.TextField(blank=True, verbose_name='log of the build')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('author', models.CharField(blank=True, max_length=200, verbose_name='uploaded by')),
                ('ended_at', models.DateTimeField(null=True, verbose_name='build ended')),
            ],
            options={
                'verbose_name': 'package version',
                'verbose_name_plural': 'package versions',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Plugin',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=langbot.lib.ids.uuid7, editable=False, unique=True, verbose_name='id')),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
                ('name', models.CharField(max_length=200, unique=True, verbose_name='plugin')),
                ('version', models.CharField(blank=True, max_length=50, verbose_name='version')),
                ('enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('icon', models.BinaryField(null=True, verbose_name='icon')),
                ('icon_type', models.CharField(blank=True, max_length=50, verbose_name='type of the icon')),
                ('readme', models.TextField(blank=True, verbose_name='readme')),
                ('last_seen_at', models.DateTimeField(null=True, verbose_name='last seen')),
                ('archived_at', models.DateTimeField(null=True, verbose_name='archived')),
            ],
            options={
                'verbose_name': 'plugin',
                'verbose_name_plural': 'plugins',
                'ordering': ['name'],
                'permissions': [('manage_plugins', 'Can install, upgrade and remove plugins')],
            },
        ),
        migrations.AddField(
            model_name='plugintoken',
            name='expires_at',
            field=models.DateTimeField(editable=False, help_text='Set when another one takes its place; its sockets close then.', null=True, verbose_name='expires'),
        ),
        migrations.AddField(
            model_name='runnerdescriptor',
            name='acknowledged_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='risk acknowledged'),
        ),
        migrations.AddField(
            model_name='runnerdescriptor',
            name='acknowledged_by',
            field=models.CharField(blank=True, editable=False, max_length=200, verbose_name='acknowledged by'),
        ),
        migrations.AddField(
            model_name='runnerdescriptor',
            name='archived_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='archived'),
        ),
        migrations.AddField(
            model_name='runnerdescriptor',
            name='plugin_enabled',
            field=models.BooleanField(default=True, editable=False, help_text="A copy of its plugin's switch: every start of a run reads it.", verbose_name='plugin enabled'),
        ),
        migrations.AddField(
            model_name='runnerdescriptor',
            name='risk',
            field=models.CharField(choices=[('ordinary', 'ordinary'), ('harness', 'executes code')], default='ordinary', max_length=10, verbose_name='risk class'),
        ),
        migrations.AddConstraint(
            model_name='runnerdescriptor',
            constraint=models.CheckConstraint(condition=models.Q(('acknowledged_at', None), ('enabled', True), ('risk', 'harness'), _negated=True), name='langbot_runner_harness_off'),
        ),
        migrations.AddField(
            model_name='packageprocess',
            name='token',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='langbot_agents.plugintoken', verbose_name='plugin token'),
        ),
        migrations.AddField(
            model_name='packageprocess',
            name='current',
            field=models.ForeignKey(help_text='The version that runs; empty before the first one is built.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='langbot_agents.packageversion', verbose_name='version'),
        ),
        migrations.AddField(
            model_name='plugin',
            name='workspace',
            field=models.ForeignKey(blank=True, help_text='Empty: it serves every workspace.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='plugins', to='langbot_core.workspace', verbose_name='workspace'),
        ),
        migrations.AddField(
            model_name='packageversion',
            name='plugin',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='langbot_agents.plugin', verbose_name='plugin'),
        ),
        migrations.AddField(
            model_name='packageprocess',
            name='plugin',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='package', to='langbot_agents.plugin', verbose_name='plugin'),
        ),
        migrations.AddIndex(
            model_name='packageversion',
            index=models.Index(fields=['status'], name='langbot_package_status'),
        ),
        migrations.RunPython(list_known_plugins, migrations.RunPython.noop),
    ]
