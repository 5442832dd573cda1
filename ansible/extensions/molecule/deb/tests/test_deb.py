"""A worker from the package, on each release."""

from __future__ import annotations

from fleet import checks
from fleet.hosts import Worker
from host.rootfs import ROOT


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


def test_differences_were_shown_but_no_secrets():
    checks.check_that_no_secret_was_shown()


def test_directories_of_the_system_are_as_they_were(host):
    checks.check_system_directories(host)


def test_the_worker_runs_in_its_sandbox_and_does_tasks(host):
    checks.check_worker(Worker(host, "inference"))


def test_units_are_those_of_the_checkout(host):
    checks.check_units_are_the_shipped_ones(host, ROOT / "systemd")


def test_a_stopped_instance_is_ready_to_be_started(host):
    worker = Worker(host, "reports")
    assert not worker.is_running
    assert worker.show("UnitFileState") == "disabled"
    assert host.file("/etc/runqy-worker/instances/reports.yml").exists


def test_it_is_the_package(host):
    assert host.package("runqy-worker").is_installed
    assert host.check_output("ls /opt/runqy-worker").startswith("uv-")  # and no environment of the worker's
    assert host.check_output("dpkg --verify runqy-worker || true") in {"", "??5?????? c /etc/runqy-worker/config.yml"}
