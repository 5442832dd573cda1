"""An arena on a master with a replica under Sentinel, and proof of what a failover lost."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import redis
from chaos.arena import PREFIX, Arena
from support.field import QUEUE, RETENTION
from support.redis_server import RedisServer
from support.sentinel import MASTER, Strays, talk, wait_until

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pytest
    from chaos.ledger import Account
    from support.sentinel import Sentinels
    from support.worker_site import WorkerProcess

PLACES = ("pending", "active", "scheduled", "retry", "archived", "completed")
SETTLED = ("completed", "archived")
BATCH = 20
PAUSE = 0.03
"""Seconds between two batches of tasks."""
Standing = tuple[str, str]
"""Where a task is, and the token of its claim."""


class FailoverArena(Arena):
    """Workers that know only the Sentinels; the test looks at the master of the moment."""

    def __init__(self, request: pytest.FixtureRequest, directory: Path, sentinels: Sentinels) -> None:
        super().__init__(request, directory, sentinels.nodes[0])
        self.sentinels = sentinels
        self.settings["redis"] = {
            "sentinel_master": MASTER,
            "sentinel_addrs": list(sentinels.addrs),
            "timeout": "1s",
            "connect_timeout": "1s",
        }
        self.settings["lease"] = {"duration": "4s", "renew_every": "500ms", "recover_every": "500ms"}
        self.enqueuer = Enqueuer(self)

    def close(self) -> None:
        self.enqueuer.stop()
        super().close()

    def follow(self) -> None:
        """Look at the present master from now on."""
        self.client.close()
        self.redis = self.sentinels.master()
        self.client = redis.Redis(port=self.redis.port, decode_responses=True)

    def wait_confirmed(self, more: int) -> None:
        """Until so many more tasks were enqueued and replicated."""
        target = len(self.enqueuer.confirmed) + more
        self.wait_until(lambda: len(self.enqueuer.confirmed) >= target, "enqueueing going on")

    def tell(self, figure: str, more: float) -> None:
        """Add to a figure of the account."""
        self.ledger.figures[figure] = round(self.ledger.figures.get(figure, 0) + more, 2)

    def excuse_differences(self, what: str, acknowledged: Mapping[str, Standing], kept: Mapping[str, Standing]) -> None:
        """The tasks of which the new master does not know what the old one acknowledged may run once more."""
        settlements = claims = 0
        excused = []
        for task_id, standing in acknowledged.items():
            if task_id in kept and kept[task_id] != standing:
                excused.append(task_id)
                settlements += standing[0] in SETTLED
                claims += standing[0] == "active"
        self._tell_lost(what, excused, settlements, claims)

    def excuse_strays(self, what: str, strays: Strays) -> None:
        """The tasks that the old master wrote about, and its successor never heard of it, may run once more."""
        settlements = claims = 0
        writes = strays.writes()
        for changes in writes.values():
            states = {change["state"] for change in changes if "state" in change}
            settlements += bool(states & set(SETTLED))
            claims += "active" in states
        self._tell_lost(what, writes, settlements, claims)

    def finish(self, workers: list[WorkerProcess]) -> Account:
        """Every confirmed task was done; more than once only where a loss explains it."""
        self.enqueuer.stop()
        self.wait_until(lambda: self.contents().waiting() == 0, "everything settled", seconds=600)
        self.ledger.enter(self.enqueuer.confirmed)
        places = self.contents().everywhere()
        unconfirmed = [*self.enqueuer.acknowledged, *self.enqueuer.doubtful]
        self.ledger.enter(task_id for task_id in unconfirmed if places[task_id])
        lost = [task_id for task_id in self.enqueuer.acknowledged if not places[task_id]]
        self.tell("enqueued tasks acknowledged but never replicated", len(lost))
        account = self.account()
        assert [worker.stop() for worker in workers] == [0] * len(workers)
        return account

    def _tell_lost(self, what: str, excused: Iterable[str], settlements: int, claims: int) -> None:
        self.ledger.injure(what, excused)
        self.tell("settlements written but never replicated", settlements)
        self.tell("claims written but never replicated", claims)


class Enqueuer(threading.Thread):
    """Enqueues short tasks through the Sentinels until it is stopped, and has each batch confirmed by the replica.

    Attributes:
        confirmed: Ids of tasks that master and replica acknowledged: they must never be lost.
        acknowledged: Ids of those that only the master acknowledged.
        doubtful: Ids of those that nobody acknowledged.
        refusals: What the reasons were, and how often.
    """

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.confirmed: list[str] = []
        self.acknowledged: list[str] = []
        self.doubtful: list[str] = []
        self.refusals: Counter[str] = Counter()
        self._arena = arena
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Send no more."""
        self._stopping.set()
        if self.is_alive():
            self.join(30)

    def run(self) -> None:
        """Do it."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        redis_settings = self._arena.settings["redis"]
        options = RedisOptions(
            sentinel_master=MASTER,
            sentinel_addrs=tuple(redis_settings["sentinel_addrs"]),
            connect_timeout=1,
            timeout=1,
        )
        number = 0
        client = AsynqClient(options)
        while not self._stopping.is_set():
            number += 1
            payloads = self._arena.short_tasks(BATCH)
            tasks = [
                NewTask(QUEUE, str(payload).replace("'", '"').encode(), id=f"n{number:05d}-{at}", retention=RETENTION)
                for at, payload in enumerate(payloads)
            ]
            standing = await self._send(client, tasks)
            standing.extend(task.id for task in tasks)
            await asyncio.sleep(PAUSE if standing is self.confirmed else 5 * PAUSE)
        await client.close()

    async def _send(self, client: AsynqClient, tasks: list[NewTask]) -> list[str]:
        """What became of them. Only the connection that enqueued them can ask whether the replica has them."""
        link = client._link
        standing = self.doubtful
        try:
            await link.connect()
            connection = link.connected_at
            await client.enqueue_many(tasks)
            standing = self.acknowledged
            replicas = await link.call("WAIT", 1, 500)
            if replicas >= 1 and link.connected_at == connection:
                return self.confirmed
        except BackendUnavailableError as error:
            self.refusals[str(error)] += 1
        await client.close()  # and look for the master anew
        return standing


def standings(port: int) -> dict[str, Standing]:
    """Where each task is on this server, and under which token."""
    with talk(port) as client:
        with client.pipeline(transaction=True) as pipe:
            for place in PLACES:
                if place in {"pending", "active"}:
                    pipe.lrange(PREFIX + place, 0, -1)
                else:
                    pipe.zrange(PREFIX + place, 0, -1)
            found = {task_id: place for place, ids in zip(PLACES, pipe.execute(), strict=True) for task_id in ids}
        with client.pipeline(transaction=False) as pipe:
            for task_id in found:
                pipe.hget(f"{PREFIX}t:{task_id}", "token")
            tokens = pipe.execute()
    return {task_id: (place, token or "") for (task_id, place), token in zip(found.items(), tokens, strict=True)}


def witness(dead: RedisServer, directory: Path) -> dict[str, Standing]:
    """What a killed server had acknowledged: a copy of its append only file, read by another."""
    shutil.copytree(dead.directory, directory)
    with RedisServer(directory, "--appendonly", "yes") as server:
        with talk(server.port) as client:
            wait_until(lambda: not client.info("persistence")["loading"], "the file being read")
        return standings(server.port)


def last_of(replica: RedisServer) -> dict[str, Standing]:
    """What a replica holds once its master is gone, before it is promoted."""
    with talk(replica.port) as client:
        wait_until(lambda: client.info("replication").get("master_link_status") == "down", "the replica noticing")
        found = standings(replica.port)
        assert client.execute_command("ROLE")[0] == "slave", "it was promoted before it was looked at"
    return found


def moved_on(server: RedisServer) -> bool:
    """Whether no connection of ours works on tasks there any more. Heartbeats and subscriptions may stay."""
    with talk(server.port) as client:
        names = {about["name"] for about in client.client_list() if about["sub"] == "0"}
    return not {name for name in names if name.startswith("runqy-worker:")} - {"runqy-worker:registry"}


def seconds_since(began: float) -> float:
    """Rounded, for figures."""
    return round(time.monotonic() - began, 2)
