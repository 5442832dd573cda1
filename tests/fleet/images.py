"""The images of the docker driver: made of the root file systems of the other tests, or of Debian's own images.

The first takes root; the second takes a registry. FLEET_BASE=registry/debian:{suite} names another image than Debian's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.containers import IMAGE
from fleet.downloads import packages
from fleet.roots import SITE, lay_out, prepared
from host.docker_daemon import TOOLS, DockerDaemon
from host.needs import missing
from host.rootfs import MASKED, PACKAGES, SUITES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
        told: dict[str, str] = {}
        if not _answers():
            daemon = stack.enter_context(DockerDaemon()).environ
            told = {name: daemon[name] for name in ("DOCKER_HOST", "DOCKER_BUILDKIT")}
        for suite in suites:
            make = _build if missing() or "FLEET_BASE" in os.environ else _load
            make(suite, {**os.environ, **told})
        yield told


def _answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


def _load(suite: str, environ: Mapping[str, str]) -> None:
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


def _build(suite: str, environ: Mapping[str, str]) -> None:
    base = os.environ.get("FLEET_BASE", "debian:{suite}").format(suite=suite)
    given = {"BASE": base, "PACKAGES": " ".join(PACKAGES), "MASKED": " ".join(MASKED)}
    arguments = (word for name, value in given.items() for word in ("--build-arg", f"{name}={value}"))
    with tempfile.TemporaryDirectory(prefix="runqy-image-") as scratch:
        lay_out(Path(scratch) / "root", packages(suite))
        file = ("--file", str(SITE / "Dockerfile"))
        command = ["docker", "build", "--network=host", "--tag", f"{IMAGE}:{suite}", *file, *arguments, scratch]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the image of {suite} was not built on {base}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


if __name__ == "__main__":
    raise SystemExit("\n".join(missing_tools()) or 0)
