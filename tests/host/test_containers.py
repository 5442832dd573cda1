"""The container images, built here from a base made here, and the compose file: they run tasks and drain."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import images
import pytest
from host.codes import WAITS_FOR_A_FILE, serving
from host.container_base import BASE, INFERENCE_ARGUMENTS, TORCH, make_base
from host.containers import PATIENCE, ContainerSite
from host.docker_daemon import DockerDaemon, compose_program, missing_tools
from host.rootfs import ROOT
from support.redis_server import RedisServer, free_port
from support.tools import missing as tool_missing

from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("containers")

NAME = "runqy-test/worker"
COMMIT = "0" * 40
SEEN = serving("""\
import os, sys
def work(payload):
    import torch
    return {"torch": torch.__version__, "base": sys.base_prefix, "uid": os.getuid()}
""")
LEAVES_ORPHANS = serving("""\
import subprocess
def work(payload):
    subprocess.run(["sh", "-c", "true & echo $! >$HOME/orphan"], check=True)
    return None
""")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerDaemon]:
    """With the base image in it."""
    if reasons := missing_tools():
        tool_missing("; ".join(reasons))
    with DockerDaemon() as docker:
        make_base(docker, tmp_path_factory.mktemp("base"))
        yield docker


@pytest.fixture(scope="module")
def minimal(docker: DockerDaemon) -> str:
    """The minimal image, by the first of its names."""
    return build(docker, "minimal")


@pytest.fixture(scope="module")
def inference(docker: DockerDaemon) -> str:
    """The inference image; what it has in common with the minimal one is built once."""
    return build(docker, "inference", **INFERENCE_ARGUMENTS)


@pytest.fixture
def site(docker: DockerDaemon, tmp_path: Path) -> Iterator[ContainerSite]:
    with RedisServer(tmp_path / "redis") as redis:
        yield ContainerSite(docker, tmp_path / "srv", redis)
        for container in docker.run("ps", "--all", "--quiet").split():
            docker.run("rm", "--force", "--volumes", container)


def build(docker: DockerDaemon, kind: str, **more: str) -> str:
    names = images.names(kind, NAME)
    arguments = {"BASE": BASE, "VERSION": __version__, "COMMIT": COMMIT, "DATE": "2026-01-02T03:04:05Z", **more}
    docker.build(ROOT, *names, file=ROOT / "packaging/docker" / images.IMAGES[kind].dockerfile, arguments=arguments)
    return names[0]


@pytest.mark.parametrize("kind", ["minimal", "inference"])
def test_an_image_has_its_tags_and_says_what_it_is(
    docker: DockerDaemon, kind: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(kind)
    assert f"runqy-worker {__version__} (commit {COMMIT}" in docker.run(
        "run", "--rm", "--network=none", image, "version"
    )
    ids = {docker.run("inspect", "--format", "{{.Id}}", name) for name in images.names(kind, NAME)}
    assert len(ids) == 1
    config = json.loads(docker.run("inspect", "--format", "{{json .Config}}", image))
    assert config["Labels"]["org.opencontainers.image.version"].startswith(__version__)
    assert config["Labels"]["org.opencontainers.image.revision"] == COMMIT
    assert config["StopSignal"] == "SIGTERM"
    assert (config["User"], config["WorkingDir"]) == ("10001:0", "/app")


def test_commands_and_the_older_flags_work(docker: DockerDaemon, minimal: str, tmp_path: Path) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        mount = f"{tmp_path}/config.yml:/app/config.yml:ro"
        return docker.try_run(*("run", "--rm", "--network=none", "--volume", mount, minimal), *command)

    (tmp_path / "config.yml").write_text("worker: {queue: jobs}\nserver: {url: http://localhost, api_key: key}\n")
    for command in (("validate",), ("-config", "/app/config.yml", "-validate"), ("validate", "--config", "config.yml")):
        done = run(*command)
        assert done.returncode == 0, done.stderr
        assert "config.yml: queues: jobs;" in done.stdout
    (tmp_path / "config.yml").write_text("worker: {queue: jobs, concurency: 2}\n")
    done = run()
    assert done.returncode == 78
    assert "did you mean worker.concurrency?" in done.stderr


def test_nothing_that_was_needed_for_the_build_is_left(docker: DockerDaemon, minimal: str) -> None:
    shell = ("run", "--rm", "--network=none", "--user=0", "--entrypoint")
    places = ("/build", "/root/.cache", "/tmp", "/var/cache/apt/archives/partial", "/var/lib/apt/lists")
    assert docker.run(*shell, "sh", minimal, "-c", f"find {' '.join(places)} -mindepth 1 2>/dev/null || true") == ""
    programs = "pip hatchling setuptools redis-server"
    there = docker.run(*shell, "sh", minimal, "-c", f"cd /opt/runqy-worker/bin && ls -d {programs} 2>/dev/null || true")
    assert there == ""


def test_a_container_does_its_tasks_and_drains(docker: DockerDaemon, minimal: str, site: ContainerSite) -> None:
    container = site.start(minimal, "drains", {"main.py": WAITS_FOR_A_FILE})
    home = "/app/deployment"
    running, waiting = site.site.enqueue("jobs.default", None, None)
    container.until(lambda: container.exists(f"{home}/began"), "the task began")
    assert container.run("healthcheck") == "alive"
    assert container.run("healthcheck", "/readyz").startswith("ready")
    with subprocess.Popen(
        ["docker", "stop", "--time=100", "drains"], env=docker.environ, stdout=subprocess.PIPE
    ) as stop:
        container.until(lambda: "drain_started" in container.actions(), "the drain began")
        assert site.site.task(running, "jobs.default").state == "active"
        container.run("touch", f"{home}/go")
        assert stop.wait(PATIENCE) == 0
    assert container.state()["ExitCode"] == 0
    assert site.result(running) == "done"
    assert site.site.task(waiting, "jobs.default").state == "pending"


def test_processes_that_lost_their_parent_are_buried(docker: DockerDaemon, minimal: str, site: ContainerSite) -> None:
    container = site.start(minimal, "orphans", {"main.py": LEAVES_ORPHANS})
    for task in site.site.enqueue("jobs.default", None, None, None):
        site.result(task)
    orphan = container.run("cat", "/app/deployment/orphan")
    container.until(lambda: not container.exists(f"/proc/{orphan}"), "the orphan is gone")


def test_task_code_sees_what_its_base_has_beside_the_daemons_own_python(
    docker: DockerDaemon, inference: str, site: ContainerSite
) -> None:
    site.start(inference, "infers", {"main.py": SEEN})
    (task,) = site.site.enqueue("jobs.default", None)
    assert site.result(task) == {"torch": TORCH, "base": "/usr", "uid": 10001}
    own = (
        "run",
        "--rm",
        "--entrypoint=/opt/runqy-worker/bin/python",
        inference,
        "-c",
        "import sys; print(sys.base_prefix)",
    )
    assert docker.run(*own).startswith("/opt/python/")


def test_the_compose_file_is_a_whole_installation(docker: DockerDaemon, minimal: str) -> None:
    port = free_port()
    chosen = {"RUNQY_IMAGE": minimal, "REDIS_IMAGE": BASE, "RUNQY_PORT": str(port), "RUNQY_CLIENT_KEY": "a-key"}

    def compose(*args: str) -> None:
        file = str(ROOT / "packaging/docker/compose.yml")
        command = [*compose_program(), "--project-name", "tryout", "--file", file, *args]
        done = subprocess.run(command, env=docker.environ | chosen, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr[-4000:]}\n{docker.try_run('ps', '--all').stdout}"

    try:
        compose("up", "--detach")
        (worker,) = docker.run("ps", "--quiet", "--filter", "name=worker").split()
        for queue in ("hello.high", "hello-once.default"):
            added = call(port, "/queue/add", {"queue": queue, "data": {"name": "Ada"}}, key="a-key")
            found = until(lambda added=added: finished(port, added["info"]["id"]), "the task ended")  # type: ignore[misc]
            assert (found["state"], json.loads(found["Result"])["greeting"]) == ("completed", "Hello, Ada!")
        compose("stop", "worker")
        assert docker.run("inspect", "--format", "{{.State.ExitCode}}", worker) == "0"
    finally:
        compose("down", "--volumes")
    assert docker.run("ps", "--all", "--quiet") == ""
    assert docker.run("volume", "ls", "--quiet") == ""


def call(port: int, path: str, body: object = None, *, key: str = "") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-API-Key": key})
    if body is not None:
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def finished(port: int, task_id: str) -> Any:
    found = call(port, f"/queue/{task_id}")["Info"]
    return found if found["state"] in {"completed", "archived"} else None


def until(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.1)
    return found
