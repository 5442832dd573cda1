"""What is done with instances: exactly those concerned, and nothing twice."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.runqy.worker.plugins.filter import placing, planning, removing, telling
from ansible_collections.runqy.worker.plugins.filter.instances import complete


def _wanted(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return complete(given, {}, ())


def _here(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        **dict.fromkeys(("configured", "running", "up", "enabled"), True),
        **dict.fromkeys(("credentials", "drop_ins", "newer", "settings", "reload", "data"), ()),
        "quiet": False,
        "state": "active",
        "status": "fine",
        "program": "",
        "environment": "",
    }
    return {**usual, **changes}


def test_nothing_is_done_where_nothing_changed() -> None:
    done = planning.actions(_wanted({"name": "a"}), {"a": _here()})
    assert done == {"start": [], "reload": [], "restart": []}


def test_only_the_instance_concerned_is_restarted() -> None:
    wanted = _wanted({"name": "a"}, {"name": "b"}, {"name": "c"})
    found = {"a": _here(newer=["/etc/credstore/runqy-worker.a.api-key"]), "b": _here(), "c": _here(reload=["x"])}
    assert planning.actions(wanted, found) == {"start": [], "reload": ["c"], "restart": ["a"]}
    assert planning.actions(wanted, {name: _here() for name in "abc"}, changed=["b"])["restart"] == ["b"]


def test_a_changed_main_file_reloads_all_but_those_that_restart_anyway() -> None:
    wanted = _wanted({"name": "a"}, {"name": "b"})
    done = planning.actions(wanted, {"a": _here(newer=["x"]), "b": _here()}, main=True)
    assert done == {"start": [], "reload": ["b"], "restart": ["a"]}


def test_another_version_restarts_only_when_that_is_asked_for() -> None:
    wanted, found = _wanted({"name": "a"}), {"a": _here(program="version 0.1.0 runs, and 0.2.0 is installed")}
    assert planning.actions(wanted, found)["restart"] == []
    assert planning.actions(wanted, found, program=True)["restart"] == ["a"]


def test_what_does_not_run_is_started_and_never_restarted() -> None:
    wanted = _wanted({"name": "a"}, {"name": "b", "state": "stopped"})
    down = _here(running=False, up=False)
    done = planning.actions(wanted, {"a": down, "b": down}, changed=["a", "b"], main=True)
    assert done == {"start": ["a"], "reload": [], "restart": []}


def test_what_waits_for_its_next_attempt_to_start_is_restarted_so_that_it_reads_its_files_anew() -> None:
    found = {"a": _here(running=False, state="activating")}
    assert planning.actions(_wanted({"name": "a"}), found) == {"start": [], "reload": [], "restart": ["a"]}
    assert planning.running(found) == []
    assert planning.up(found) == ["a"]


def test_restarts_can_be_left_to_the_operator() -> None:
    done = planning.actions(_wanted({"name": "a"}), {"a": _here(newer=["x"])}, main=True, restart=False)
    assert done == {"start": [], "reload": [], "restart": []}


def test_settings_that_a_reload_left_restart() -> None:
    assert planning.unsettled(["a", "b"], {"a": _here(settings=["changed settings ..."]), "b": _here()}) == ["a"]


def test_changed_items_name_their_instances() -> None:
    secret = {"changed": True, "item": {"name": "a", "path": "p"}}
    removed = {"changed": True, "item": "/etc/credstore/runqy-worker.b.low.api-key"}
    same = {"changed": False, "item": {"name": "c"}}
    assert planning.changed_items([{"results": [secret, removed, same]}, {}]) == ["a", "b.low"]


def test_secrets_that_nobody_lists_are_found() -> None:
    (wanted,) = complete([{"name": "a", "credentials": {"git_token": "t"}}], {}, ())
    paths = ["/etc/credstore/runqy-worker.a.git-token", "/etc/credstore/runqy-worker.a.api-key"]
    assert placing.unlisted([wanted], {"a": _here(credentials=paths)}) == paths[1:]


def test_secrets_that_were_encrypted_on_the_host_stay_unless_a_plain_one_replaces_them() -> None:
    (wanted,) = complete([{"name": "a", "credentials": {"git_token": "t"}}], {}, ())
    store = "/etc/credstore.encrypted/runqy-worker.a"
    paths = [f"{store}.git-token.encrypted", f"{store}.redis-password.encrypted"]
    assert placing.unlisted([wanted], {"a": _here(credentials=paths)}) == paths[:1]


def test_drop_ins_that_are_no_longer_asked_for_are_found_and_others_left() -> None:
    found = {"a": _here(drop_ins=["ansible.conf", "cuda.conf", "override.conf"])}
    paths = [each["path"] for each in placing.leftovers(_wanted({"name": "a", "device": "cuda"}), found)]
    assert paths == ["/etc/systemd/system/runqy-worker@a.service.d/ansible.conf"]


def test_older_systemd_gets_no_newer_drop_ins() -> None:
    files: list[dict[str, Any]] = [{"from": "a"}, {"from": "b", "since": 254}]
    assert placing.for_systemd(files, 252) == files[:1]
    assert placing.for_systemd(files, 257) == files


def test_environments_that_are_used_or_new_stay() -> None:
    host = {
        "environments": ["0.1.0", "uv-1", "0.2.0", "0.3.0", "0.4.0"],
        "version": "0.4.0",
        "instances": {"a": _here(environment="0.1.0")},
    }
    assert planning.outdated(host, "0.5.0", 2, "/opt/runqy-worker/uv-1") == ["0.2.0", "0.3.0"]
    assert planning.outdated(host, "0.5.0", 9, "/opt/runqy-worker/uv-1") == []
    assert planning.outdated(host, "0.5.0", 9, "/opt/runqy-worker/uv-2") == ["uv-1"]


def test_packages_that_are_used_or_new_stay() -> None:
    files = [f"/var/cache/runqy-worker-packages/runqy-worker_0.{number}_amd64.deb" for number in range(1, 5)]
    assert removing.spare_packages(files, ["0.1", "0.5"], 2) == files[1:2]
    assert removing.spare_packages(files, [], 9) == []


def test_the_version_to_go_back_to_is_the_one_that_instances_run_from() -> None:
    host = {"version": "0.2.0", "instances": {"a": _here(environment="0.1.0"), "b": _here(running=False)}}
    assert planning.serving_version(host) == "0.1.0"
    assert planning.serving_version({**host, "instances": {}}) == "0.2.0"


def test_only_what_claimed_before_claims_again() -> None:
    before = {"a": _here(), "b": _here(quiet=True), "c": _here()}
    after = {"a": _here(quiet=True), "b": _here(quiet=True), "c": _here()}
    assert planning.claiming(before) == ["a", "c"]
    assert planning.quieted(["a", "c"], after) == ["a"]
    assert planning.quieted([], after) == []


def _examined(name: str, *checks: str) -> dict[str, Any]:
    findings = [{"check": check, "level": "problem", "found": "x", "advice": "y"} for check in checks]
    return {"item": name, "rc": int(bool(checks)), "stdout": json.dumps({"examined": [{"findings": findings}]})}


def test_a_unit_that_failed_before_is_no_reason_not_to_start_it() -> None:
    results = [_examined("a"), _examined("b", "unit"), _examined("c", "unit", "server"), {"item": "d", "skipped": True}]
    assert planning.refused(results) == ["c"]
    assert planning.refused([{"item": "e", "rc": 70, "stdout": "", "stderr": "Traceback"}]) == ["e"]
    assert telling.reasons_of(results, ["c"]) == ["c:\nunit: x -> y\nserver: x -> y"]


def test_an_absent_instance_is_removed_once() -> None:
    wanted = _wanted({"name": "a", "state": "absent"}, {"name": "b", "state": "absent"})
    found = {"a": _here(credentials=["/etc/credstore/runqy-worker.a.api-key"])}
    leaving = removing.still_there(wanted, found)
    assert [each["name"] for each in leaving] == ["a"]
    kept, gone = removing.files_of(leaving, found), removing.files_of(leaving, found, purge_data=True)
    assert "/etc/credstore/runqy-worker.a.api-key" in kept
    assert not [path for path in kept if path.startswith("/var")]
    assert "/var/lib/runqy-worker/a" in gone


def test_differences_say_what_was_found_and_expected() -> None:
    wanted = _wanted({"name": "a"}, {"name": "b", "state": "stopped"}, {"name": "c"})
    found = {"a": _here(running=False, state="failed", status="no key"), "b": _here(), "c": _here()}
    assert planning.differences(wanted, found) == [
        "a: found it failed, expected it to run: no key",
        "b: found it running, expected it stopped",
    ]


def test_a_failure_tells_what_the_doctor_found() -> None:
    findings = '{"examined": [{"findings": [{"check": "server", "level": "problem", "found": "401", "advice": "mend"},'
    findings += '{"check": "disk", "level": "ok", "found": "fine", "advice": ""}]}]}'
    result = {"results": [{"failed": True, "item": "a", "stdout": findings, "msg": "non-zero return code"}]}
    assert telling.reasons(result) == ["a:\nserver: 401 -> mend"]
    assert telling.failed_units(result) == ["runqy-worker@a.service"]


def test_a_failure_of_a_single_task_tells_its_message() -> None:
    assert telling.reasons({"failed": True, "msg": "no such file"}) == ["no such file"]
    assert telling.failed_units({"failed": True, "msg": "no such file"}) == []


def test_status_is_a_line_per_instance() -> None:
    told = {"summary": "a: running 0/1", "restart_needed": ["version 1 runs"], "reload_needed": []}
    status: list[dict[str, Any]] = [
        {"name": "a", "state": "running", "error": None, "status": told},
        {"name": "b", "state": "stopped", "error": None, "status": None},
    ]
    host = {"method": "deb", "version": "0.1.0", "systemd": 252}
    lines = ["deb 0.1.0, systemd 252", "a: a: running 0/1; version 1 runs", "b: stopped"]
    assert telling.summaries(status, host) == lines
    assert telling.summaries(status, host, ["b"]) == [lines[0], lines[2]]
