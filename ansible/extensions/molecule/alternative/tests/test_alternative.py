"""Two instances with nothing as it is by default."""

from __future__ import annotations

from fleet import checks
from fleet.hosts import Worker

ASK = """
import urllib.request
request = urllib.request.Request("http://127.0.0.1:9100/readyz", headers={"Authorization": "Bearer s3cret-token"})
print(urllib.request.urlopen(request).status)
"""


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


def test_no_secrets_were_shown():
    checks.check_that_no_secret_was_shown()
    checks.check_that_no_secret_was_shown("s3cret-token")


def test_directories_of_the_system_are_as_they_were(host):
    checks.check_system_directories(host)


def test_the_worker_of_another_user_runs_in_its_sandbox_and_does_tasks(host):
    checks.check_worker(Worker(host, "inference"), user="renderer")


def test_all_came_through_the_proxy(host):
    seen = host.check_output("journalctl --unit=site-proxy --output=cat")
    for name in ("files/runqy_worker-", "simple/requests/", "simple/sdnotify/", "simple/uv/"):
        assert f"GET http://packages.example/{name}" in seen


def test_redis_is_spoken_to_with_tls_only(host):
    clients = [client for client in host.check_output("redis-cli client list").splitlines() if "lib-name=" in client]
    ports = [client.split("laddr=")[1].split()[0].rpartition(":")[2] for client in clients]
    assert host.check_output("ss --no-header --tcp state established '( dport = :6379 )' | wc -l").strip() in {"0", "1"}
    assert ports.count("6380") > 0


def test_limits_are_those_asked_for(host):
    worker = Worker(host, "inference")
    limits = {"MemoryHigh": 400 << 20, "MemoryMax": 512 << 20, "TasksMax": 200}
    assert {name: int(worker.show(name)) for name in limits} == limits
    assert worker.show("CPUQuotaPerSecUSec") == "500ms"
    assert host.check_output("systemctl show --value --property=MemoryMax runqy.slice") == str(8 << 30)


def test_variables_reach_the_tasks_as_they_were_written(host):
    (environ,) = Worker(host, "inference").answers({"ask": "environ"})
    assert environ["COLOUR"] == 'deep "blue" $HOME'
    assert environ["HTTPS_PROXY"] == "http://127.0.0.1:3128"


def test_the_other_instance_serves_its_queue_and_does_not_come_back_with_the_host(host):
    worker = Worker(host, "low")
    assert worker.is_running, worker.log()
    assert worker.show("UnitFileState") == "disabled"
    assert worker.answers({"number": 1}, queue="inference.low") == [1]
    assert host.check_output("python3 -c %s", ASK) == "200"


def test_the_administrator_may_command(host):
    assert "runqy-admin" in host.user("operator-1").groups
