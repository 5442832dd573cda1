"""Of a removed worker nothing is left but what was asked to stay."""

from __future__ import annotations

from fleet import checks
from fleet.hosts import runs

DATA = ("/var/lib/runqy-worker", "/var/cache/runqy-worker", "/var/log/runqy-worker")
ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock")
BACKUPS = {f"/etc/{name}{suffix}" for name in ACCOUNTS for suffix in ("", "-")}


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


def test_nothing_is_left_but_data_where_that_was_to_stay(machine, host):
    left = files_left(host)
    if machine == "kept-1":
        assert {path for path in left if not path.startswith(DATA)} == set()
        assert host.file("/var/lib/runqy-worker/inference/done").content_string == "7\n"
    else:
        assert left == set()
        assert host.run("getent passwd runqy-worker").rc != 0
        assert host.run("getent group runqy-admin").rc != 0


def test_nothing_else_was_taken_away(host):
    before = set(host.file("/srv/site/files-before").content_string.splitlines())
    now = set(host.check_output("sh /srv/site/files.sh").splitlines())
    assert before - now - BACKUPS == set()


def test_systemd_knows_nothing_of_it(host):
    assert host.check_output("systemctl list-units --all --no-legend 'runqy*'") == ""
    assert host.run("systemctl list-unit-files --no-legend 'runqy*'").stdout == ""
    assert host.check_output("systemctl list-units --failed --no-legend") == ""


def test_directories_of_the_system_are_as_they_were(host):
    checks.check_system_directories(host)


def test_the_second_removal_found_nothing_to_do(machine):
    first, second = runs("side_effect.yml")
    assert first.hosts[machine]["changed"] != []
    assert second.hosts[machine]["changed"] == []


def files_left(host):
    before = set(host.file("/srv/site/files-before").content_string.splitlines())
    return set(host.check_output("sh /srv/site/files.sh").splitlines()) - before - BACKUPS
