"""Who is told what, and where the door is."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from support.fakes import Recorder
from support.http_probe import ask

from runqy_worker.domain.errors import ListenError
from runqy_worker.domain.events import Notice
from runqy_worker.service.health import METRICS_TYPE, Health, listen
from runqy_worker.service.probes import Probes, Standing
from runqy_worker.service.small_http import Request

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.service.small_http import Response

RIGHT = {"authorization": "Bearer sesame"}
JSON = {"accept": "application/json"}


class Worker:
    """What the test says."""

    def __init__(self, *standings: Standing, stalled: str = "") -> None:
        self.all = list(standings) or [Standing("jobs", "running", able=True, begun=True)]
        self.stalled = stalled

    def stall(self) -> str:
        return self.stalled

    def standings(self) -> list[Standing]:
        return self.all


async def metrics() -> str:
    return "up 1\n"


def health(worker: Worker | None = None, token: str = "") -> Health:
    return Health(Probes(worker or Worker()), metrics, token=token, listener=Recorder())


async def answer(asked: Health, path: str, headers: dict[str, str] | None = None) -> Response:
    return await asked.answer(Request("GET", path, headers or {}))


def stands(parent: str, doing: str, *, able: bool = False, begun: bool = True) -> Standing:
    return Standing(parent, doing, able=able, begun=begun)


async def test_a_living_worker_lives_whatever_its_redis_does() -> None:
    told = await answer(health(Worker(stands("jobs", "the backend does not answer"))), "/livez")
    assert (told.status, told.body) == (200, b"alive\n")


async def test_one_that_stands_still_does_not_live_and_says_why() -> None:
    told = await answer(health(Worker(stalled="the claim loop of jobs has stood still for 70 s")), "/livez")
    assert (told.status, told.body) == (503, b"not alive: the claim loop of jobs has stood still for 70 s\n")


async def test_it_is_ready_while_one_parent_queue_can_run_tasks() -> None:
    told = await answer(health(Worker(stands("a", "running", able=True), stands("b", "degraded"))), "/readyz")
    assert (told.status, told.body) == (200, b"ready\na: running\nb: degraded\n")


@pytest.mark.parametrize("doing", ["quiet", "draining", "degraded", "recovering", "the backend does not answer"])
async def test_it_is_not_ready_while_none_can(doing: str) -> None:
    told = await answer(health(Worker(stands("a", doing))), "/readyz")
    assert (told.status, told.body) == (503, f"not ready\na: {doing}\n".encode())


async def test_it_is_not_ready_while_one_is_still_at_its_start() -> None:
    worker = Worker(stands("a", "running", able=True), stands("b", "starting", begun=False))
    assert (await answer(health(worker), "/readyz")).status == 503


async def test_it_has_started_once_it_was_ready_though_nobody_asked_then() -> None:
    worker = Worker(stands("a", "starting", begun=False))
    probes = Probes(worker)
    assert not probes.started().ok
    worker.all = [stands("a", "running", able=True)]
    probes.notice(Notice("ready", "a: ready to run tasks"))
    worker.all = [stands("a", "quiet")]
    assert probes.started().ok
    assert not probes.ready().ok


async def test_programs_get_json() -> None:
    told = await answer(health(Worker(stands("a", "quiet"))), "/readyz", JSON)
    assert told.content_type == "application/json"
    assert told.body == b'{"ok": false, "status": "not ready", "queues": {"a": "quiet"}}\n'


async def test_metrics_are_told_in_prometheus_format() -> None:
    told = await answer(health(), "/metrics")
    assert (told.status, told.body, told.content_type) == (200, b"up 1\n", METRICS_TYPE)


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/", "/../metrics", "*"])
async def test_other_paths_lead_nowhere_and_those_that_do_are_named(path: str) -> None:
    told = await answer(health(), path)
    assert (told.status, told.body) == (
        404,
        b"there is nothing here; expected one of /livez, /readyz, /startupz, /metrics\n",
    )


async def test_with_a_token_metrics_are_for_those_who_send_it() -> None:
    guarded = health(token="sesame")
    refused = await answer(guarded, "/metrics")
    assert (refused.status, refused.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert b"sesame" not in refused.body
    assert (await answer(guarded, "/metrics", RIGHT)).status == 200


async def test_with_a_token_probes_answer_everybody_but_give_reasons_only_to_those_who_send_it() -> None:
    guarded = health(Worker(stands("a", "quiet")), token="sesame")
    told = await answer(guarded, "/readyz")
    assert (told.status, told.body) == (503, b"not ready\n")
    assert (await answer(guarded, "/readyz", JSON)).body == b'{"ok": false, "status": "not ready"}\n'
    assert (await answer(guarded, "/readyz", RIGHT)).body == b"not ready\na: quiet\n"


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer sesam", "Basic sesame", "sesame", "Bearer größe"])
@pytest.mark.parametrize("path", ["/livez", "/metrics"])
async def test_a_wrong_token_is_refused_everywhere(path: str, given: str) -> None:
    assert (await answer(health(token="sesame"), path, {"authorization": given})).status == 401


async def test_a_token_that_nobody_asked_for_does_no_harm() -> None:
    assert (await answer(health(), "/metrics", {"authorization": "Bearer x"})).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_it_listens_at_any_free_port_and_tells_which(host: str) -> None:
    try:
        listening = await listen((host, 0), health().http)
    except ListenError:
        assert host == "::1"
        pytest.skip("no IPv6 on this machine")
    try:
        for address in listening.addresses:
            assert (await asyncio.to_thread(ask, address, "/livez")).text == "alive\n"
    finally:
        listening.close()


async def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"health\.address: can't listen at 127\.0\.0\.1:{port}: .*in use"):
            await listen(("127.0.0.1", port), health().http)


async def test_everybody_may_connect_to_the_socket_and_it_goes_with_the_worker(tmp_path: Path) -> None:
    listening = await listen(str(tmp_path / "health.sock"), health().http)
    assert (tmp_path / "health.sock").stat().st_mode & 0o777 == 0o666
    answered = await asyncio.to_thread(ask, listening.addresses[0], "/readyz")
    assert (answered.status, answered.text) == (200, "ready\njobs: running\n")
    listening.close()
    assert not (tmp_path / "health.sock").exists()
