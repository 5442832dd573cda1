"""What is examined: one worker's configuration, seen as its service would see it."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.local import LocalRegistrar
from runqy_worker.deployment.registration import Registrar
from runqy_worker.doctor.proxies import proxy_for
from runqy_worker.domain.errors import RunqyError
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.loading import Loaded
    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.deployment.registration import Registers
    from runqy_worker.doctor.account import Account
    from runqy_worker.service.instances.places import InstancePlaces
    from runqy_worker.service.systemctl import UnitState


class Subject:
    """One worker, of which there may be no process.

    Args:
        loaded: Its configuration; None when that can't be used.
        problems: Why not.
        places: Its files, when it is an instance.
        unit: What systemd knows of its unit, when it is an instance and systemd runs.
        account: The user that it runs as.
        environ: Its environment, as far as that is known.
        scratch: A private directory of that user for the length of the examination.
        unread: Credentials that could not be read, and why.
    """

    def __init__(
        self,
        *,
        loaded: Loaded | None,
        problems: tuple[str, ...] = (),
        places: InstancePlaces | None = None,
        unit: UnitState | None = None,
        account: Account,
        environ: Mapping[str, str],
        scratch: Path,
        unread: Mapping[str, str] | None = None,
    ) -> None:
        self.loaded = loaded
        self.problems = problems
        self.places = places
        self.unit = unit
        self.account = account
        self.environ = environ
        self.scratch = scratch
        self.unread = unread or {}
        self._asking: asyncio.Task[dict[str, Registration | RunqyError]] | None = None

    @property
    def name(self) -> str:
        """The instance's name; empty when it is none."""
        return self.places.name if self.places else ""

    @property
    def config(self) -> Config:
        """Its settings. Only for checks that need a configuration."""
        if self.loaded is None:
            raise RuntimeError("there is no configuration that can be used")
        return self.loaded.config

    def path(self, text: str) -> Path:
        """A path of the configuration; a relative one starts where the worker does."""
        if self.places is None:
            return Path(text).absolute()
        told = self.unit.get("WorkingDirectory") if self.unit else ""
        return (Path(told.lstrip("!-")) if told else self.places.state) / text

    @property
    def validating(self) -> str:
        """The command that checks its configuration."""
        return "runqy-worker validate" + (f" --instance {self.name}" if self.name else "")

    @property
    def restarting(self) -> str:
        """What to do for a change to take effect."""
        return f"systemctl restart runqy-worker@{self.name}" if self.name else "restart the worker"

    async def registrations(self) -> dict[str, Registration | RunqyError]:
        """What the server answers for each configured queue, or why it does not. Asked once, for all checks."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="registrations")
        return await asyncio.shield(self._asking)

    async def registered(self) -> list[Registration]:
        """The good answers among them."""
        return [each for each in (await self.registrations()).values() if not isinstance(each, RunqyError)]

    async def close(self) -> None:
        """Nothing more is asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> dict[str, Registration | RunqyError]:
        source = self._source()
        answers: dict[str, Registration | RunqyError] = {}
        for queue in self.config.queues:
            try:
                answers[queue] = await source.once(queue)
            except RunqyError as error:
                answers[queue] = error
        return answers

    def _source(self) -> Registers:
        if self.config.local.queues_file:
            return LocalRegistrar(self.config, environ=self.environ)
        server = self.config.server
        proxied = dataclasses.replace(server, proxy=server.proxy or proxy_for(server.url, self.environ))
        return Registrar(proxied, self.config.bootstrap, version=__version__)
