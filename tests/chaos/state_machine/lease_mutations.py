"""Deliberate mistakes, one guard of the protocol at a time. A model that does not notice them is worth nothing.

Those in scripts are made in copies that only one test loads; a text that no longer stands in its script is an error:
then the mistake has to be written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.state_machine import lease_plays as plays
from chaos.state_machine.lease_clock import Edit

from runqy_worker.backends.asynq import recovery
from runqy_worker.backends.asynq.recovery import Recovery
from runqy_worker.backends.asynq.sweeping import Sweeping

if TYPE_CHECKING:
    from chaos.state_machine.lease_plays import Play

_sweep = Sweeping.run


async def _sweep_twice(self: Sweeping) -> float:
    """Two looks, with no time between them."""
    self._swept_at = float("-inf")
    await _sweep(self)
    self._swept_at = float("-inf")
    return await _sweep(self)


async def _at_once(self: Recovery) -> float:
    """Nobody is given time to renew."""
    await self._link.connect()
    self._server_ahead = self._clock.server_time() - self._clock.monotonic()
    return 0.0


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Attributes:
        edits: In scripts.
        patches: In the program: object, attribute, what to put there.
        play: Where it shows; None: in a random walk.
    """

    edits: tuple[Edit, ...] = ()
    patches: tuple[tuple[Any, str, Any], ...] = ()
    play: Play | None = field(default=None)


def _edit(script: str, old: str, new: str, play: Play | None = None) -> Mutation:
    return Mutation((Edit(script, old, new),), play=play)


_FRACTION = "held and string.find(held, '.', 1, true)"

MUTATIONS: dict[str, Mutation] = {
    "a settlement does not compare the token": _edit("settle", "== ARGV[at + 2]", "~= nil", plays.someone_else_has_it),
    "a settlement does not look at the lease": _edit(
        "settle", "ours = " + _FRACTION, "ours = true", plays.a_go_worker_has_it
    ),
    "a settlement takes a Go worker's lease for ours": _edit("settle", _FRACTION, "held", plays.a_go_worker_has_it),
    "a settlement forgets the lock": _edit(
        "settle", "if unique ~= '' and redis.pcall('GET', unique) == id then redis.pcall('DEL', unique) end", ""
    ),
    "a settlement opens a lock that is somebody else's": _edit(
        "settle", "if unique ~= '' and redis.pcall('GET', unique) == id then", "if unique ~= '' then"
    ),
    "a release goes to the end of the line": _edit(
        "settle", "call('RPUSH', pending, released[i])", "call('LPUSH', pending, released[i])"
    ),
    "a release is charged": _edit("settle", "if ARGV[at + 4] == '1' then redis.pcall", "if true then redis.pcall"),
    "a renewal does not compare the token": _edit("renew", "== ARGV[i + 1]", "~= nil", plays.someone_else_has_it),
    "a renewal takes a Go worker's lease for ours": _edit("renew", _FRACTION, "held", plays.a_go_worker_has_it),
    "a claim's lease may end at a whole second": _edit("claim", "'%d.%06d5'", "'%d'", plays.leases_end_at_any_moment),
    "a renewed lease may end at a whole second": _edit(
        "renew", "if expiry % 1000 == 0 then", "if false then", plays.leases_end_at_any_moment
    ),
    "a claim takes from a paused queue": _edit(
        "claim", "while not paused and #taken < left do", "while #taken < left do"
    ),
    "a claim forgets who holds the task": _edit(
        "claim", "call('HSET', key, 'state', 'active', 'token', token)", "call('HSET', key, 'state', 'active')"
    ),
    "a claim looks past the tasks of an unanswered one": _edit("claim", "if tokens[", "if false and tokens["),
    "a claim does not read the counts of a task without pending_since": _edit(
        "claim", "call('HLEN', key) > (task[2] and 3 or 2)", "call('HLEN', key) > 3", plays.a_go_worker_gives_back
    ),
    "recovery does not ask whether the lease ran out": _edit(
        "recover", "'-inf', seconds, 'WITHSCORES'", "'-inf', '+inf', 'WITHSCORES'"
    ),
    "recovery leaves the token": _edit("recover", "redis.call('HDEL', task, 'token')", "", plays.nobody_has_it),
    "recovery does not count": _edit(
        "recover", "redis.pcall('HINCRBY', task, 'reruns', 1)", "", plays.someone_else_has_it
    ),
    "recovery gives nobody time to renew": Mutation(
        patches=((Recovery, "_get_in_touch", _at_once),), play=plays.everyone_comes_back
    ),
    "a Go worker's lease has no grace": Mutation(
        patches=((recovery, "_FOREIGN_GRACE", 0),), play=plays.a_go_worker_falls_silent
    ),
    "a sweep mends at first sight": Mutation(
        patches=((Sweeping, "run", _sweep_twice),), play=plays.an_orphan_is_seen_twice
    ),
    "tasks are forwarded before their time": _edit(
        "forward", "'-inf', seconds, 'LIMIT'", "'-inf', seconds + 60, 'LIMIT'"
    ),
    "completed tasks are purged before their time": _edit(
        "purge", "KEYS[1], '-inf', now, 'LIMIT'", "KEYS[1], '-inf', now + 5, 'LIMIT'"
    ),
    "the audit takes listed tasks for lost": _edit("audit", "return listed[id]", "return false"),
    "a taken id is taken again": _edit(
        "enqueue", "if redis.call('EXISTS', KEYS[1]) == 1 then", "if false then", plays.an_id_is_used_twice
    ),
    "an operator archives a running task": _edit(
        "move_task", "if state == 'active' or state == wanted then", "if state == wanted then"
    ),
}
