"""The images of the docker driver: those of Debian with what the test machines have, or made of root file systems."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from fleet.containers import IMAGE
from fleet.roots import prepared
from host.docker_daemon import TOOLS, DockerDaemon
from host.rootfs import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/gcc", "usr/include")


def missing_tools() -> list[str]:
    """What keeps this host from running the machines in containers, one sentence each."""
    if _answers():
        return []
    found = [f"{tool} is missing: apt-get install docker.io" for tool in TOOLS if shutil.which(tool) is None]
    return found or (["no Docker answers, and root is needed to start one"] if os.getuid() != 0 else [])


@contextlib.contextmanager
def make_images(suites: Iterable[str] = SUITES) -> Iterator[dict[str, str]]:
    """Variables that lead to a Docker that has an image for each suite; a daemon of our own unless one runs already."""
    with contextlib.ExitStack() as stack:
        told = {} if _answers() else {"DOCKER_HOST": stack.enter_context(DockerDaemon()).environ["DOCKER_HOST"]}
        for suite in suites:
            _load(suite, {**os.environ, **told})
        yield told


def _answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def _load(suite: str, environ: dict[str, str]) -> None:
    root = prepared(suite)
    tag = f"{IMAGE}:{suite}"
    label = f"{IMAGE}.root={root.name}"
    found = ["docker", "images", "--quiet", "--filter", f"label={label}", tag]
    if subprocess.run(found, env=environ, capture_output=True, check=True).stdout.strip():
        return
    excluded = (f"--exclude=./{path}" for path in ("dev", "proc", "sys", *_LEFT_OUT))
    with subprocess.Popen(["tar", "-C", str(root), *excluded, "-c", "."], stdout=subprocess.PIPE) as packing:
        load = ["docker", "import", "--change", f"LABEL {label}", "-", tag]
        subprocess.run(load, stdin=packing.stdout, env=environ, check=True, capture_output=True)


if __name__ == "__main__":
    raise SystemExit("\n".join(missing_tools()) or 0)
