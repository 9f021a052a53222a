import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command


def test_the_hosts_own_supervisor_is_not_for_this_project():
    with pytest.raises(CommandError, match="Start web, worker and plugins"):
        call_command("runlangbot")


@pytest.mark.django_db
def test_the_project_is_set_up_well():
    assert run_checks() == []
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
