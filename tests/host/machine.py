"""A booted Debian: systemd-nspawn over a root file system that it leaves untouched."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
from host.needs import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable

BOOT = 90.0
"""Seconds that a boot may take, on a machine that is busy with other tests."""
SHUTDOWN = 60.0
PATIENCE = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Without bpf(2) DevicePolicy= and IPAddressDeny= do nothing, silently; device nodes are made as drivers make them.
_REAL = ("--capability=CAP_BPF,CAP_MKNOD", "--system-call-filter=bpf")
_NUMBERS = itertools.count(1)


class CommandError(AssertionError):
    """A command in the machine failed; the text has all that it said."""


class Machine:
    """Boots on entry, powers off on exit. What is written in it is gone then.

    Args:
        rootfs: Its root file system; several machines may share one.
        log: Where its console goes.
        private_network: It has a loopback of its own and nothing else; otherwise it shares the host's network.
    """

    def __init__(self, rootfs: Path, log: Path, *, private_network: bool = True) -> None:
        self.rootfs = rootfs
        self.name = f"runqy-{os.getpid()}-{next(_NUMBERS)}"
        self.log = log
        self._private_network = private_network
        self._outer: subprocess.Popen[bytes] | None = None
        self._groups: list[Path] = []
        self.pid = 0

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    @property
    def root(self) -> Path:
        """Its file system, seen from the host. Absolute links in it lead astray: they are followed on the host."""
        return Path(f"/proc/{self.pid}/root")

    def run(
        self,
        *argv: str,
        check: bool = True,
        input: str | bytes | None = None,  # noqa: A002 - as subprocess has it
        user: str = "",
        timeout: float = PATIENCE,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root unless `user` is given; its stderr is beside its stdout in the result.

        Raises:
            CommandError: It failed, and `check` is set.
        """
        command = self.command(*argv, user=user, **environ)
        data = input.encode() if isinstance(input, str) else input
        raw = subprocess.run(command, input=data or b"", capture_output=True, timeout=timeout, check=False)
        done = subprocess.CompletedProcess(
            argv, raw.returncode, raw.stdout.decode(errors="replace"), raw.stderr.decode(errors="replace")
        )
        if check and done.returncode != 0:
            raise CommandError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def sh(self, script: str, *, check: bool = True, user: str = "", timeout: float = PATIENCE) -> str:
        """Run a shell script in it; returns what it printed."""
        return self.run("sh", "-euc", script, check=check, user=user, timeout=timeout).stdout.strip()

    def command(self, *argv: str, user: str = "", **environ: str) -> list[str]:
        """The command line on the host that runs `argv` in it."""
        variables = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", **environ}
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--") if user else ()
        return [
            *("nsenter", "--target", str(self.pid)),
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"),
            *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *become,
            *argv,
        ]

    def write(self, path: str, content: str | bytes, *, mode: str = "644", owner: str = "root:root") -> None:
        """Write a file, with the directories above it."""
        self.run(
            *("sh", "-euc", 'mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1"; chown "$3" "$1"'),
            *("sh", path, mode, owner),
            input=content,
        )

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a file or the contents of a directory of the host to `target`, owned by root."""
        what = ("-C", str(source), ".") if source.is_dir() else ("-C", str(source.parent), source.name)
        packed = subprocess.run(["tar", "-c", "--owner=0", "--group=0", *what], capture_output=True, check=True).stdout
        self.run("sh", "-euc", 'mkdir -p "$1"; tar -xC "$1"', "sh", target, input=packed)

    def read(self, path: str) -> str:
        """A file's text."""
        return self.run("cat", path).stdout

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        return self.run("test", "-e", path, check=False).returncode == 0

    def systemctl(self, *args: str, check: bool = True, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run systemctl in it."""
        return self.run("systemctl", *args, check=check, timeout=timeout)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit."""
        text = self.systemctl("show", unit, *(f"--property={name}" for name in properties)).stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Entries of its journal, oldest first."""
        self.run("journalctl", "--sync")
        text = self.run("journalctl", "--output=json", "--all", "--no-pager", *matches).stdout
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def journal_text(self, *matches: str, lines: int = 80) -> str:
        """The end of its journal, for people."""
        return self.run("journalctl", "--no-pager", f"--lines={lines}", *matches, check=False).stdout

    def until(self, condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
        """Wait for it; a failure shows the end of the journal."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come about\n{self.journal_text()}"
            time.sleep(0.05)

    def _boot(self) -> None:
        network = ["--private-network"] if self._private_network else []
        argv = [
            *(
                "setpriv",
                "--pdeathsig",
                "TERM",
                "systemd-nspawn",
                "--quiet",
                "--boot",
                f"--directory={self.rootfs}",
                f"--machine={self.name}",
            ),
            *("--volatile=overlay", "--register=no", "--console=read-only", "--link-journal=no", *network, *_REAL),
        ]
        argv += self._make_groups()
        enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in self._groups)
        with self.log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", f'{enter}exec "$@"', "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": _PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        deadline = time.monotonic() + BOOT
        state = "no init"
        while state not in {"running", "degraded"}:
            assert self._outer.poll() is None, f"the machine ended while it booted\n{self._console()}"
            assert time.monotonic() < deadline, f"the machine did not boot in {BOOT:.0f} s: {state}\n{self._console()}"
            time.sleep(0.05)
            self.pid = self.pid or _init_of(self._outer.pid)
            if self.pid:
                state = self.systemctl("is-system-running", check=False).stdout.strip()

    def _make_groups(self) -> list[str]:
        """A control group of its own in each hierarchy: without one, two machines would share their trees."""
        layout = cgroups()
        assert layout is not None, "this host has no cgroup2 file system"
        for parent in layout.parents:
            _sweep(parent)
            group = parent / self.name
            group.mkdir(exist_ok=True)
            self._groups.append(group)
        return ["--keep-unit"] if layout.parents else []

    def _end(self) -> None:
        if self._outer is not None:
            if self._outer.poll() is None:
                self._outer.send_signal(signal.SIGTERM)  # an orderly shutdown
            try:
                self._outer.wait(timeout=SHUTDOWN)
            except subprocess.TimeoutExpired:
                self._outer.kill()
                self._outer.wait(timeout=SHUTDOWN)
            self._outer = None
        self.pid = 0
        for group in self._groups:
            _remove_group(group)
        self._groups.clear()

    def _console(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def _init_of(outer: int) -> int:
    """The process that is number 1 in a machine, by its number here; 0 while there is none."""
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        for child in psutil.Process(outer).children(recursive=True):
            status = Path(f"/proc/{child.pid}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1" and Path(f"/proc/{child.pid}/comm").read_text() == "systemd\n":
                return child.pid
    return 0


def _sweep(parent: Path) -> None:
    """Remove the groups of machines whose tests were killed."""
    for left in parent.glob("runqy-*-*"):
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            _remove_group(left)


def _remove_group(group: Path) -> None:
    """Remove a control group with those below it, and end what is left in them."""
    groups = sorted((path.parent for path in group.rglob("cgroup.procs")), reverse=True)
    for each in groups:
        for _ in range(100):
            with contextlib.suppress(ProcessLookupError, OSError):
                for pid in (each / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            try:
                each.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.05)
            else:
                break
