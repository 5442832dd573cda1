"""Servers in a machine that deploys need: git over ssh and https, and a directory of packages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from host.rootfs import ROOT
from support.packages import make_wheel

if TYPE_CHECKING:
    from host.machine import Machine

PACKAGES = "/srv/packages"
TOKEN = "g1t-t0ken"
HTTPS = "https://localhost:8443"
CERTIFICATE = "/srv/https/cert.pem"
REQUIREMENTS = f"--no-index\n--find-links {PACKAGES}\nplain\ncompiled\n"
"""A wheel, and a source distribution with an extension in C."""

_SOURCE = """\
#include <Python.h>
static PyObject *twice(PyObject *self, PyObject *arg) { return PyLong_FromLong(2 * PyLong_AsLong(arg)); }
static PyMethodDef methods[] = {{"twice", twice, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "compiled", NULL, -1, methods};
PyMODINIT_FUNC PyInit_compiled(void) { return PyModule_Create(&module); }
"""
_BACKEND = """\
import os, subprocess, sysconfig, tempfile, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    with tempfile.TemporaryDirectory() as build:
        built = os.path.join(build, "compiled" + suffix)
        include = sysconfig.get_paths()["include"]
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-I" + include, "-o", built, "compiled.c"], check=True)
        info = "compiled-1.0.dist-info/"
        tag = "py3-none-any"
        name = f"compiled-1.0-{tag}.whl"
        with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
            wheel.write(built, "compiled" + suffix)
            wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: compiled\\nVersion: 1.0\\n")
            about = f"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: false\\nTag: {tag}\\n"
            wheel.writestr(info + "WHEEL", about)
            names = ("compiled" + suffix, info + "METADATA", info + "WHEEL", info + "RECORD")
            wheel.writestr(info + "RECORD", "".join(name + ",,\\n" for name in names))
    return name
"""
_PROJECT = """\
[project]
name = "compiled"
version = "1.0"
[build-system]
requires = []
build-backend = "own_backend"
backend-path = ["."]
"""


def provide_packages(machine: Machine) -> None:
    """A wheel `plain`, and the source of `compiled`, whose build calls the C compiler."""
    source = "/srv/compiled-1.0"
    machine.write(f"{source}/compiled.c", _SOURCE)
    machine.write(f"{source}/own_backend.py", _BACKEND)
    machine.write(f"{source}/pyproject.toml", _PROJECT)
    machine.write(f"{source}/PKG-INFO", "Metadata-Version: 2.1\nName: compiled\nVersion: 1.0\n")
    with tempfile.TemporaryDirectory() as directory:
        machine.copy_in(make_wheel(Path(directory), "plain"), PACKAGES)
    machine.sh(f"tar -C /srv -czf {PACKAGES}/compiled-1.0.tar.gz compiled-1.0")


def start_ssh(machine: Machine) -> tuple[str, str]:
    """An ssh server for the user `git`; returns a private key that opens it, and its line for known_hosts."""
    machine.sh(
        "mkdir -p /run/sshd /srv/git/.ssh\n"
        "ssh-keygen -q -t ed25519 -N '' -f /root/site-key\n"
        "cp /root/site-key.pub /srv/git/.ssh/authorized_keys\n"
        "chown -R git: /srv/git/.ssh; chmod 700 /srv/git/.ssh\n"
        "usermod -p '*' git\n"  # a locked account may not log in, with a key either
        "systemd-run --quiet --unit=site-ssh /usr/sbin/sshd -D -e -o ListenAddress=127.0.0.1"
    )
    hosts = ("ssh-keyscan", "-t", "ed25519", "localhost")
    machine.until(lambda: machine.run(*hosts, check=False).stdout, "the ssh server")
    return machine.read("/root/site-key"), machine.run(*hosts).stdout


def start_https(machine: Machine) -> None:
    """The repositories of /srv/git at `HTTPS`, for who has `TOKEN`."""
    tests = ROOT / "tests"
    for name in ("support/__init__.py", "support/git_site.py", "support/redis_server.py", "host/https_git.py"):
        machine.write(f"/srv/https/tests/{name}", (tests / name).read_text())
    machine.sh(
        "chown git: /srv/https\n"
        "systemd-run --quiet --unit=site-https --uid=git --setenv=PYTHONPATH=/srv/https/tests "
        f"python3 /srv/https/tests/host/https_git.py /srv/https {HTTPS.rpartition(':')[2]} {TOKEN}"
    )
    machine.until(lambda: machine.exists("/srv/https/ready"), "the https server")
