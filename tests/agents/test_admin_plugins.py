"""The admin of plugins: health, switches, packages, tokens, risk classes."""

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from agents.models import (
    PackageProcess,
    Plugin,
    PluginConnection,
    PluginToken,
    RunnerDescriptor,
)
from agents.packages.archive import FILE_BYTES
from agents.packages.services import install_package
from agents.registry.tokens import create_plugin_token, verify_plugin_token
from langbot.core.models import AuditLog
from tests.langbot.admin_site_rows import RUNNER, populate
from tests.support.small_sdk import package_file

ACME = "acme/tools"


@pytest.fixture
def staff(client, db):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def page(row, name="change"):
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=[row.pk])


def said(answer):
    return " ".join(str(message) for message in answer.context["messages"])


def act(staff, plugin, name):
    url = reverse("admin:langbot_agents_plugin_act", args=[plugin.pk, name])
    return staff.post(url, follow=True)


def test_page_says_how_a_plugin_does_and_what_it_may(staff):
    plugin = Plugin.objects.get()
    RunnerDescriptor.objects.update(permissions={"models": ["invoke", "odd"]})
    body = staff.get(page(plugin)).content.decode()
    assert "online" in body
    assert "Answers piece by piece" in body
    assert "Ask models, models.odd" in body
    assert "it runs" in body
    assert "A <em>box</em> of them." in body
    assert "<script>x" not in body
    assert page(plugin, "icon") in body
    listed = staff.get(reverse("admin:langbot_agents_plugin_changelist"))
    (row,) = listed.context["cl"].result_list
    assert (row.health.processes, row.health.shown_runs) == (1, "2")


def test_last_error_and_offline_are_seen(staff):
    plugin = Plugin.objects.get()
    PluginConnection.objects.update(status="refused", reason="it has a wrong name")
    body = staff.get(page(plugin)).content.decode()
    assert "it has a wrong name" in body
    assert "refused" in body


def test_icon_is_shown_so_that_it_can_do_nothing(staff):
    answer = staff.get(page(Plugin.objects.get(), "icon"))
    assert answer["Content-Type"] == "image/gif"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer["Content-Security-Policy"].endswith("sandbox")
    Plugin.objects.update(icon=None)
    assert staff.get(page(Plugin.objects.get(), "icon")).status_code == 404


def test_switch_reaches_every_runner_and_is_audited(staff):
    plugin = Plugin.objects.get()
    assert "Done for 1 row" in said(act(staff, plugin, "disable"))
    runner = RunnerDescriptor.objects.get()
    assert (runner.enabled, runner.is_usable) == (True, False)
    assert "Done for 0 rows" in said(act(staff, plugin, "disable"))
    act(staff, plugin, "enable")
    assert RunnerDescriptor.objects.get().is_usable
    entries = AuditLog.objects.filter(object_id=plugin.public_id).order_by("pk")
    assert [entry.action for entry in entries] == ["disabled", "enabled"]


def test_a_package_is_uploaded_checked_and_upgraded(staff):
    add = reverse("admin:langbot_agents_plugin_add")
    bad = {"package": SimpleUploadedFile("x.lbpkg", b"no zip"), "workspace": ""}
    assert "The file is no zip archive." in staff.post(add, bad).content.decode()
    good = package_file().getvalue()
    file = SimpleUploadedFile("x.lbpkg", good)
    answer = staff.post(add, {"package": file, "workspace": ""}, follow=True)
    assert "is being built" in said(answer)
    plugin = Plugin.objects.get(name="acme/small")
    assert plugin.workspace is None
    upgrade = reverse("admin:langbot_agents_plugin_upgrade", args=[plugin.pk])
    other = SimpleUploadedFile("x", package_file(name="other").getvalue())
    body = staff.post(upgrade, {"package": other}).content.decode()
    assert "The file is of acme/other, not of acme/small." in body
    second = SimpleUploadedFile("x", package_file("2.0.0").getvalue())
    staff.post(upgrade, {"package": second})
    versions = plugin.versions.values_list("version", flat=True)
    assert list(versions) == ["2.0.0", "1.0.0"]


def test_a_file_that_is_too_large_is_refused(staff):
    file = SimpleUploadedFile("x.lbpkg", bytes(FILE_BYTES + 1))
    add = reverse("admin:langbot_agents_plugin_add")
    body = staff.post(add, {"package": file, "workspace": ""}).content.decode()
    assert "The file is over 50 MB." in body


def test_packages_are_for_whoever_may_manage_them(staff, client):
    person = get_user_model().objects.create_user("ina", is_staff=True)
    plugin = Plugin.objects.get()
    names = ["view_plugin", "change_plugin"]
    from django.contrib.auth.models import Permission

    person.user_permissions.set(Permission.objects.filter(codename__in=names))
    version = plugin.versions.get()
    version.plugin.workspace = None
    from langbot.core.models import Workspace

    workspace = Workspace.objects.get()
    workspace.memberships.create(user=person)
    Plugin.objects.update(workspace=workspace)
    client.force_login(person)
    body = client.get(page(plugin)).content.decode()
    assert "Switch off" in body
    assert "Remove this package" not in body
    assert "it runs" not in body, "its log may tell much"
    assert client.get(reverse("admin:langbot_agents_plugin_add")).status_code == 403
    for name in ("remove", "restart"):
        assert act(client, plugin, name).status_code == 403
    use = reverse("admin:langbot_agents_plugin_use", args=[plugin.pk, version.pk])
    assert client.post(use).status_code == 403


def test_a_package_is_removed_by_its_button(staff):
    plugin = Plugin.objects.get()
    assert "Remove this package" in staff.get(page(plugin)).content.decode()
    act(staff, plugin, "remove")
    assert PackageProcess.objects.get().is_removing
    assert "Remove this package" not in staff.get(page(plugin)).content.decode()


def test_a_token_is_rotated_with_a_grace(staff):
    token, plain = create_plugin_token("home", plugins=["acme/x"])
    url = page(token, "rotate")
    assert url in staff.get(page(token)).content.decode()
    answer = staff.post(url, {"grace": "3600"})
    new = PluginToken.objects.exclude(pk=token.pk).get(plugins=["acme/x"])
    assert "no-store" in answer["Cache-Control"]
    shown = answer.context["plain_token"]
    assert verify_plugin_token(shown) == new
    assert verify_plugin_token(plain) == token, "for an hour"
    assert staff.post(page(new, "rotate"), {"grace": "0"}).status_code == 200
    assert verify_plugin_token(shown) is None
    over = PluginToken.objects.get(pk=new.pk)
    assert "over" in said(staff.post(page(over, "rotate"), {"grace": "0"}, follow=True))
    entries = AuditLog.objects.filter(object_id=token.public_id, action="rotated")
    assert shown not in str(entries.get().after)


def test_the_token_of_a_package_is_rotated_on_its_page(staff):
    version = install_package(package_file(), None, author="ada")
    process = PackageProcess.objects.get(plugin=version.plugin)
    answer = staff.get(page(process.token, "rotate"), follow=True)
    assert answer.request["PATH_INFO"] == page(version.plugin)
    act(staff, version.plugin, "renew_token")
    assert verify_plugin_token(process.secret) is None
    process.refresh_from_db()
    assert verify_plugin_token(process.secret) is not None
    assert process.restart == 1


def harness():
    schema = [{"name": "command", "type": "string"}]
    runner = RunnerDescriptor.objects.get(runner_id=RUNNER)
    RunnerDescriptor.objects.filter(pk=runner.pk).update(
        risk="harness", enabled=False, config_schema=schema
    )
    runner.refresh_from_db()
    return runner


def test_a_harness_is_switched_on_by_the_written_words_only(staff):
    runner = harness()
    everything = reverse("admin:langbot_agents_runnerdescriptor_changelist")
    enable = {"action": "enable", "_selected_action": [runner.pk]}
    assert "acknowledge" in said(staff.post(everything, enable, follow=True))
    staff.post(page(runner), {"enabled": "on"})
    staff.post(page(runner, "risk"), {"typed": "yes"})
    runner.refresh_from_db()
    assert (runner.enabled, runner.acknowledged_at) == (False, None)
    words = f"{RUNNER} may execute code"
    assert words in staff.get(page(runner, "risk")).content.decode()
    staff.post(page(runner, "risk"), {"typed": words})
    runner.refresh_from_db()
    assert runner.enabled
    assert runner.acknowledged_by == "root"
    entry = AuditLog.objects.get(action="risk acknowledged")
    assert (entry.actor, entry.after) == ("root", {"typed": words})
    staff.post(everything, {**enable, "action": "disable"})
    runner.refresh_from_db()
    assert not runner.enabled
    staff.post(page(runner), {"enabled": "on"})
    runner.refresh_from_db()
    assert runner.enabled, "once acknowledged it is a switch"


def test_the_class_is_set_by_hand_and_not_cleared_against_the_settings(staff):
    runner = RunnerDescriptor.objects.get(runner_id=RUNNER)
    staff.post(page(runner, "risk"), {"risk": "harness"})
    runner.refresh_from_db()
    assert (runner.risk, runner.enabled) == ("harness", False)
    staff.post(page(runner, "risk"), {"risk": "ordinary"})
    runner.refresh_from_db()
    assert (runner.risk, runner.enabled) == ("ordinary", False)
    runner = harness()
    answer = staff.post(page(runner, "risk"), {"risk": "ordinary"}, follow=True)
    assert "executes code" in said(answer)
    runner.refresh_from_db()
    assert runner.risk == "harness"


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("disable", "disabled"),
        ("restart", "package restarted"),
        ("stop", "package stopped"),
        ("renew_token", "package token rotated"),
        ("remove", "package removed"),
    ],
)
def test_each_act_is_done_once_in_the_name_of_the_person(staff, name, recorded):
    plugin = Plugin.objects.get()
    undone = {"disable": ("enable", "enabled"), "stop": ("start", "package started")}
    for act_name, words in [(name, recorded), *filter(None, [undone.get(name)])]:
        assert "Done for 1 row" in said(act(staff, plugin, act_name))
        entry = AuditLog.objects.latest("pk")
        assert (entry.actor, entry.action) == ("root", words)
