"""One instance of the worker in a machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from host.site import HostSite

START = 120.0
"""Seconds that a systemctl command may take, deploys included."""


class Instance:
    """`runqy-worker@NAME.service`, and its files.

    Attributes:
        name: Of the instance, its queue and its repository.
        unit: The service.
        state: Its state directory.
    """

    def __init__(self, site: HostSite, name: str) -> None:
        self.name = name
        self.unit = f"runqy-worker@{name}.service"
        self.queue = f"{name}.default"
        self.state = f"/var/lib/runqy-worker/{name}"
        self._site = site
        self._machine = site.machine
        self._drop_ins = f"/etc/systemd/system/{self.unit}.d"

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write its YAML file."""
        self._machine.write(f"/etc/runqy-worker/instances/{self.name}.yml", yaml.safe_dump(dict(settings)))

    def variables(self, **environ: str) -> None:
        """Write its environment file."""
        text = "".join(f"{name}={value}\n" for name, value in environ.items())
        self._machine.write(f"/etc/runqy-worker/instances/{self.name}.env", text)

    def credential(self, name: str, value: str) -> None:
        """Put a secret into the credential store."""
        self._machine.write(f"/etc/credstore/runqy-worker.{self.name}.{name}", value, mode="600")

    def drop_in(self, file: str, text: str) -> None:
        """Change the unit for this instance."""
        self._machine.write(f"{self._drop_ins}/{file}", text)
        self._machine.systemctl("daemon-reload")

    def start(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`systemctl start`; a failure shows the journal."""
        done = self._machine.systemctl("start", self.unit, check=False, timeout=START)
        assert not check or done.returncode == 0, f"{done.stderr}\n{self.log()}"
        return done

    def stop(self) -> None:
        """`systemctl stop`."""
        self._machine.systemctl("stop", self.unit, timeout=START)

    def show(self, name: str) -> str:
        """One property of the unit."""
        return self._machine.show(self.unit, name)[name]

    @property
    def pid(self) -> int:
        """The daemon's, by the machine's count; 0 when it does not run."""
        return int(self.show("MainPID"))

    @property
    def restarts(self) -> int:
        """How often systemd has restarted it."""
        return int(self.show("NRestarts"))

    def until(self, condition: Callable[[Instance], object], what: str) -> None:
        """Wait until it is so; a failure shows the end of the journal."""
        self._machine.until(lambda: condition(self), f"{what} of {self.name}")

    def children(self) -> list[int]:
        """All processes of the unit but the daemon."""
        main = self.pid
        group = self.show("ControlGroup")
        if not group:
            return []
        text = self._machine.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs", check=False).stdout
        return [int(pid) for pid in text.split() if int(pid) != main]

    def environ(self, pid: int) -> dict[str, str]:
        """The environment that a process was started with."""
        text = self._machine.run("cat", f"/proc/{pid}/environ").stdout
        return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)

    def log(self, *matches: str) -> str:
        """The end of its journal."""
        return self._machine.journal_text("-u", self.unit, *matches)

    def entries(self, *matches: str) -> list[dict[str, Any]]:
        """Its journal."""
        return self._machine.journal("-u", self.unit, *matches)

    def actions(self) -> list[str]:
        """What it told of, by name."""
        return [entry["RUNQY_ACTION"] for entry in self.entries() if "RUNQY_ACTION" in entry]

    def enqueue(self, *payloads: object, **options: Any) -> list[str]:
        """Enqueue tasks for it."""
        return self._site.enqueue(self.queue, *payloads, **options)

    def result(self, task_id: str) -> Any:
        """What a task answered; fails when it was archived."""
        info = self._site.finished(task_id, self.queue)
        assert info.state == "completed", f"{info}\n{self.log()}"
        return json.loads(info.result or b"null")

    def answer(self, payload: object = None) -> Any:
        """What one new task answers."""
        return self.result(*self.enqueue(payload))

    def remove(self) -> None:
        """Take its files away."""
        etc = "/etc/runqy-worker"
        stores = " ".join(f"/etc/{store}/runqy-worker.{self.name}.*" for store in ("credstore", "credstore.encrypted"))
        places = " ".join(f"{root}/runqy-worker/{self.name}" for root in ("/var/lib", "/var/cache", "/var/log"))
        self._machine.sh(
            f"rm -rf {self._drop_ins} /etc/systemd/system/runqy-worker.target.wants/{self.unit} "
            f"{etc}/instances/{self.name}.* {etc}/queues/{self.name}.yml {stores} {places} /srv/git/{self.name}"
        )
