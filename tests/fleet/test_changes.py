"""What a change restarts, what it reloads, and what it leaves alone; the tests are steps of one operator's day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fleet.playing import Operator

if TYPE_CHECKING:
    from fleet.conftest import Workers
    from host.machine import Machine

RELOADED, RESTARTED = "Deploy with changed settings", "Restart what runs with older files"
DONE = "/var/lib/runqy-worker/reports/done"


class Host:
    """The worker of the tests, and what is described of it by now."""

    def __init__(self, machine: Machine, operator: Operator) -> None:
        self.machine = machine
        self._operator = operator
        self._described: dict[str, Any] = {}
        self.instances = {each["name"]: dict(each) for each in operator.settings["instances"]}

    def pids(self) -> dict[str, str]:
        """The daemons' processes."""
        units = {name: f"runqy-worker@{name}.service" for name in ("inference", "reports")}
        return {name: self.machine.show(unit, "MainPID")["MainPID"] for name, unit in units.items()}

    def play(self, playbook: str = "site", *args: str, fails: bool = False, **changed: Any) -> tuple[list[str], str]:
        """Describe it anew, and play; returns the tasks that changed something, and what Ansible said."""
        self._described |= changed
        told = {**self._described, "instances": list(self.instances.values())}
        played = self._operator.play(playbook, *args, fails=fails, **told)
        return played.changed("worker-1"), played.said

    def answers(self, queue: str, *payloads: dict[str, Any]) -> list[Any]:
        """What tasks gave."""
        words = [json.dumps(payload) for payload in payloads]
        done = json.loads(self.machine.run("python3", "/srv/site/client.py", "do", queue, *words).stdout)
        assert [task["state"] for task in done] == ["completed"] * len(payloads), self.machine.journal_text()
        return [task["result"] for task in done]


@pytest.fixture(scope="module")
def host(workers: Workers, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Host:
    machines = workers(1)
    return Host(machines["worker-1"], Operator(tmp_path_factory.mktemp("changes"), machines, settings))


def test_another_secret_restarts_the_instance_that_has_it_and_no_other(host: Host) -> None:
    before = host.pids()
    host.instances["reports"]["credentials"] = {"git_token": "s3cret-token"}
    changed, said = host.play("site", "--diff", "--tags", "credentials")
    assert changed == ["Write the secrets into systemd's credential store", RESTARTED]
    assert host.pids()["inference"] == before["inference"]
    assert host.pids()["reports"] != before["reports"]
    assert "s3cret-token" not in said


def test_another_variable_restarts_the_instance_that_has_it_and_its_tasks_end_before(host: Host) -> None:
    before = host.pids()
    feeder = (
        "systemd-run",
        "--quiet",
        "--unit=site-feeder",
        "python3",
        "/srv/site/client.py",
        "feed",
        "reports.default",
    )
    host.machine.run(*feeder)
    host.instances["reports"]["environment"] = {"COLOUR": "green"}
    changed, _ = host.play("site", "--tags", "configure")
    host.machine.run("touch", "/srv/site/feed.stop")
    host.machine.until(lambda: host.machine.exists("/srv/site/sent.json"), "the end of the feeding")
    assert changed == ["Write the instances' variables", RESTARTED]
    assert host.pids()["inference"] == before["inference"]
    assert host.pids()["reports"] != before["reports"]
    sent = len(json.loads(host.machine.read("/srv/site/sent.json")))
    ended = json.loads(host.machine.sh("python3 /srv/site/client.py wait </srv/site/sent.json"))
    assert [task["state"] for task in ended] == ["completed"] * sent
    assert sorted(map(int, host.machine.read(DONE).split())) == list(range(sent))
    assert host.answers("reports.default", {"ask": "environ"})[0]["COLOUR"] == "green"


def test_a_setting_that_a_reload_takes_over_restarts_nothing(host: Host) -> None:
    before = host.pids()
    changed, _ = host.play(config={"bootstrap": {"retry_delay": "200ms"}, "log": {"level": "debug"}})
    assert changed == ["Write what all instances share", RELOADED]
    assert host.pids() == before
    assert host.play()[0] == []


def test_a_setting_that_needs_a_restart_restarts_that_instance(host: Host) -> None:
    before = host.pids()
    host.instances["inference"]["concurrency"] = 3
    changed, _ = host.play()
    assert (changed[0], changed[-1]) == ("Write the instances' settings", RESTARTED)
    assert host.pids()["inference"] != before["inference"]
    assert host.pids()["reports"] == before["reports"]


def test_a_limit_that_is_no_longer_asked_for_goes(host: Host) -> None:
    del host.instances["inference"]["memory_max"]
    assert host.machine.show("runqy-worker@inference.service", "MemoryMax") == {"MemoryMax": str(1 << 30)}
    host.play()
    assert host.machine.show("runqy-worker@inference.service", "MemoryMax") == {"MemoryMax": "infinity"}
    assert host.play()[0] == []


def test_changed_task_code_is_reloaded_by_deploy_and_by_nothing_else(host: Host) -> None:
    before = host.pids()
    assert host.answers("inference.default", {"number": 1}) == [1]
    code = host.machine.read("/srv/site/code/main.py").replace('return payload["number"]', 'return -payload["number"]')
    host.machine.write("/srv/site/code/main.py", code, owner="site:site")
    git = "git -c user.name=Test -c user.email=test@localhost -c safe.directory='*' -C /srv/git/code"
    host.machine.sh(f"{git} commit --quiet --all -m change", user="site")
    assert host.play()[0] == []
    assert host.answers("inference.default", {"number": 2}) == [2]
    assert host.play("deploy", "--extra-vars", '{"runqy_worker_only": ["inference"]}')[0] == [
        "Deploy the newest task code"
    ]
    assert host.answers("inference.default", {"number": 3}) == [-3]
    assert host.answers("reports.default", {"number": 4}) == [4]
    assert host.pids() == before


def test_what_a_failed_run_did_not_come_to_is_done_by_the_next(host: Host) -> None:
    before = host.pids()
    host.instances["reports"] |= {"environment": {"COLOUR": "red"}, "credentials": {"api_key": "another-key"}}
    _, said = host.play(fails=True)
    assert "does not know the key" in said
    assert host.pids() == before
    host.instances["reports"]["credentials"] = {}
    host.play()
    assert host.pids()["inference"] == before["inference"]
    assert host.pids()["reports"] != before["reports"]
    assert host.answers("reports.default", {"ask": "environ"})[0]["COLOUR"] == "red"


def test_a_worker_that_failed_for_what_somebody_wrote_by_hand_is_put_right(host: Host) -> None:
    host.machine.write("/etc/runqy-worker/instances/reports.yml", "worker: {concurency: 2}\n")
    unit = "runqy-worker@reports.service"
    assert host.machine.systemctl("restart", unit, check=False).returncode != 0
    assert host.machine.show(unit, "ActiveState") == {"ActiveState": "failed"}
    assert host.play()[0] == ["Write the instances' settings", "Start and stop"]
    assert host.answers("reports.default", {"number": 0}) == [0]


def test_a_worker_that_waits_for_its_next_attempt_takes_the_mended_secret_at_once(host: Host) -> None:
    host.machine.write("/etc/credstore/runqy-worker.reports.api-key", "wrong", mode="400")
    unit = "runqy-worker@reports.service"
    host.machine.systemctl("restart", "--no-block", unit)
    host.machine.until(lambda: host.machine.show(unit, "ActiveState")["ActiveState"] == "activating", "the attempt")
    changed, _ = host.play("site", "--tags", "credentials")
    assert changed == ["Write the secrets into systemd's credential store", RESTARTED]
    assert host.answers("reports.default", {"number": 0}) == [0]


def test_status_tells_how_they_do(host: Host) -> None:
    changed, said = host.play("status")
    assert changed == []
    assert "inference: " in said
    assert "reports: " in said


def test_drained_instances_come_back_with_the_next_run(host: Host) -> None:
    assert host.play("drain")[0] == [
        "Claim nothing more, on all of them at once",
        "Stop when the running tasks have ended",
    ]
    assert host.pids() == {"inference": "0", "reports": "0"}
    assert host.play("drain")[0] == []
    assert host.play()[0] == ["Start and stop"]
    assert "0" not in host.pids().values()


def test_an_instance_that_is_to_be_absent_goes_with_its_files_but_not_its_data(host: Host) -> None:
    host.instances["reports"] = {"name": "reports", "state": "absent"}
    host.play()
    assert host.play()[0] == []
    left = host.machine.sh("find /etc /run /usr /var -xdev -path '*reports*' -not -path '/var/log/journal/*' -prune")
    assert set(left.split()) == {f"/var/{kind}/runqy-worker/reports" for kind in ("lib", "cache", "log")}
    assert host.pids()["inference"] != "0"
