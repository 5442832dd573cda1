"""What settings must satisfy together, and forms that a kind alone does not say. Nothing here looks at files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.config.addresses import is_host_port, is_socket_path, listen_address, split_url
from runqy_worker.config.masking import MASK, quoted
from runqy_worker.config.model import OFF
from runqy_worker.config.units import format_duration
from runqy_worker.domain import queues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from runqy_worker.config.model import Config
    from runqy_worker.config.report import Report
    from runqy_worker.config.values import Assignment

    Rule: TypeAlias = "Callable[[View], Iterator[Fault]]"

_OLDEST_PYTHON = (3, 8)
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.\d+)?\Z", re.ASCII)
_WITHOUT_SERVER = "unless local.queues_file is set"


@dataclass(frozen=True, slots=True)
class View:
    """What the rules look at.

    Attributes:
        config: All values; secrets may be empty because they were not read.
        given: What some source set, by dotted key.
        home: What to name as the place of something that is missing.
    """

    config: Config
    given: Mapping[str, Assignment]
    home: str

    def where(self, key: str, item: int | None = None) -> str:
        """The origin of a setting, or of one item of a list."""
        found = self.given.get(key)
        if found is None:
            return "default"
        return found.items[item] if item is not None and found.items else found.origin

    def has(self, key: str) -> bool:
        """Whether a text is set to something, read or not."""
        found = self.given.get(key)
        return found is not None and (found.unread or bool(found.value))


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken rule: where, which key, what was found (None: nothing) and what was expected."""

    where: str
    key: str
    found: str | None
    expected: str


_RULES: list[tuple[tuple[str, ...], Rule]] = []
_PRESENCE: list[tuple[tuple[str, ...], Rule]] = []


def check(view: View, report: Report, *, partial: bool = False) -> None:
    """Report every broken rule, leaving out rules about settings whose value is already known to be bad.

    Args:
        view: The settings.
        report: Gets the faults.
        partial: The settings are only a part, to be completed elsewhere: nothing is required.
    """
    unknown = report.bad | report.meant
    rules = [] if partial else [rule for keys, rule in _PRESENCE if unknown.isdisjoint(keys)]
    rules += [rule for keys, rule in _RULES if report.bad.isdisjoint(keys)]
    faults = [fault for rule in rules for fault in rule(view)]
    for fault in faults:
        if fault.found is None:
            report.missing(fault.where, fault.key, fault.expected)
        else:
            report.wrong(fault.where, fault.key, fault.found, fault.expected)


def _rule(*keys: str) -> Callable[[Rule], Rule]:
    """Register a rule that reads these settings."""
    return _register(_RULES, keys)


def _required(*keys: str) -> Callable[[Rule], Rule]:
    """Register a rule that one of these settings must be given."""
    return _register(_PRESENCE, keys)


def _register(rules: list[tuple[tuple[str, ...], Rule]], keys: tuple[str, ...]) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        rules.append((keys, rule))
        return rule

    return register


@_required("server.url", "local.queues_file")
def _server_url_given(view: View) -> Iterator[Fault]:
    if not view.has("server.url") and not view.has("local.queues_file"):
        yield Fault(
            view.home, "server.url", None, f"the URL of the runqy server (or RUNQY_SERVER_URL), {_WITHOUT_SERVER}"
        )


@_required("server.api_key", "server.api_key_file", "local.queues_file")
def _api_key_given(view: View) -> Iterator[Fault]:
    if not (view.has("server.api_key") or view.has("server.api_key_file") or view.has("local.queues_file")):
        expected = "the server's key (or server.api_key_file, RUNQY_API_KEY, the credential api-key)"
        yield Fault(view.home, "server.api_key", None, f"{expected}, {_WITHOUT_SERVER}")


@_required("worker.queue", "worker.queues")
def _some_queue(view: View) -> Iterator[Fault]:
    if not view.config.queues:
        yield Fault(view.home, "worker.queue", None, "a queue to work on (or worker.queues, RUNQY_QUEUES)")


@_rule("server.url")
def _server_url(view: View) -> Iterator[Fault]:
    url = view.config.server.url
    if not url:
        return
    where = view.where("server.url")
    parts = split_url(url, "http", "https")
    if parts is None:
        found = MASK if "@" in url else quoted(url)
        yield Fault(where, "server.url", found, "a URL such as https://runqy.example.com:8081")
    elif parts.username is not None or parts.password is not None:
        yield Fault(
            where, "server.url", quoted(url), "a URL without a user name or password; the key is server.api_key"
        )


@_rule("server.proxy")
def _proxy(view: View) -> Iterator[Fault]:
    proxy = view.config.server.proxy
    if proxy and split_url(proxy, "http", "https", "socks5", "socks5h") is None:
        found = MASK if "@" in proxy else quoted(proxy)
        yield Fault(view.where("server.proxy"), "server.proxy", found, "a URL such as http://proxy.example.com:3128")


@_rule("deployment.index_url", "deployment.extra_index_urls")
def _indexes(view: View) -> Iterator[Fault]:
    deployment = view.config.deployment
    named = [("deployment.index_url", None, deployment.index_url)] if deployment.index_url else []
    more = [("deployment.extra_index_urls", number, url) for number, url in enumerate(deployment.extra_index_urls)]
    for key, number, url in [*named, *more]:
        where = view.where(key, number)
        parts = split_url(url, "http", "https")
        if parts is None and not url.startswith("file:///"):
            found = MASK if "@" in url else quoted(url)
            yield Fault(where, key, found, "a URL such as https://pypi.example.com/simple")
        elif parts is not None and parts.password is not None:
            expected = "a URL without a password; it goes into deployment.index_password or index_password_file"
            yield Fault(where, key, quoted(url), expected)


@_rule("server.api_key")
def _api_key_form(view: View) -> Iterator[Fault]:
    yield from _header_value(view, "server.api_key", view.config.server.api_key)


@_rule("health.token")
def _health_token_form(view: View) -> Iterator[Fault]:
    yield from _header_value(view, "health.token", view.config.health.token)


@_rule("health.address")
def _health_address(view: View) -> Iterator[Fault]:
    address = view.config.health.address
    if address not in {"", OFF} and listen_address(address) is None:
        expected = "unix:/absolute/path, host:port (port 0: any that is free), [IPv6 address]:port, or off"
        yield Fault(view.where("health.address"), "health.address", quoted(address), expected)


@_rule("worker.queue", "worker.queues")
def _one_of_queue_and_queues(view: View) -> Iterator[Fault]:
    if view.config.worker.queue and view.config.worker.queues:
        found = f"both this and worker.queue ({view.where('worker.queue')})"
        yield Fault(view.where("worker.queues"), "worker.queues", found, "only one of the two")


@_rule("worker.queue", "worker.queues")
def _queue_names(view: View) -> Iterator[Fault]:
    parents = {name for _, _, name in _named(view) if queues.is_parent(name)}
    seen: dict[str, tuple[str, str]] = {}
    for key, where, name in _named(view):
        if not queues.is_valid(name) or name[-1] in ".:":
            advice = "; several queues go into worker.queues" if "," in name and key == "worker.queue" else ""
            expected = "a queue name such as inference or inference.high: letters, digits and . _ - :, at most 128"
            yield Fault(where, key, quoted(name), expected + advice)
            continue
        plain = _same(name)
        if plain in seen:
            first, first_where = seen[plain]
            found = f"{quoted(name)}, which means the same as {quoted(first)} ({first_where})"
            yield Fault(where, key, found, "each queue once")
        elif not queues.is_parent(name) and queues.parent_of(name) in parents:
            found = f"{quoted(name)} beside its parent {quoted(queues.parent_of(name))}"
            yield Fault(where, key, found, "either the parent, which stands for all its sub-queues, or some of those")
        seen.setdefault(plain, (name, where))


@_rule("worker.concurrency", "process.standby")
def _standby(view: View) -> Iterator[Fault]:
    text, most = view.config.process.standby, view.config.worker.concurrency
    if text == "auto" or (text.isascii() and text.isdigit() and int(text) <= most):
        return
    expected = f"auto, or a whole number from 0 to worker.concurrency, which is {most}"
    yield Fault(view.where("process.standby"), "process.standby", quoted(text), expected)


@_rule("recovery.initial_delay", "recovery.max_delay")
def _delays(view: View) -> Iterator[Fault]:
    recovery = view.config.recovery
    if recovery.initial_delay > recovery.max_delay:
        key = "recovery.initial_delay" if "recovery.initial_delay" in view.given else "recovery.max_delay"
        relation = "at most recovery.max_delay" if key.endswith("initial_delay") else "at least recovery.initial_delay"
        ours, other = recovery.initial_delay, recovery.max_delay
        if key.endswith("max_delay"):
            ours, other = other, ours
        yield Fault(view.where(key), key, format_duration(ours), f"{relation}, which is {format_duration(other)}")


@_rule("lease.duration", "lease.renew_every")
def _lease(view: View) -> Iterator[Fault]:
    lease = view.config.lease
    if lease.renew_every > lease.duration / 2:
        key = "lease.renew_every" if "lease.renew_every" in view.given else "lease.duration"
        expected = (
            f"renewals (lease.renew_every, {format_duration(lease.renew_every)}) at least twice in "
            f"lease.duration ({format_duration(lease.duration)}), so that one may fail"
        )
        value = lease.renew_every if key == "lease.renew_every" else lease.duration
        yield Fault(view.where(key), key, format_duration(value), expected)


@_rule("deployment.python")
def _python(view: View) -> Iterator[Fault]:
    text = view.config.deployment.python
    version = _VERSION.match(text)
    if version and (int(version[1]), int(version[2] or _OLDEST_PYTHON[1])) < _OLDEST_PYTHON:
        yield Fault(view.where("deployment.python"), "deployment.python", quoted(text), "Python 3.8 or newer")


@_rule("redis.addr")
def _redis_addr(view: View) -> Iterator[Fault]:
    addr = view.config.redis.addr
    if addr and not is_host_port(addr) and not is_socket_path(addr):
        expected = "host:port, or the absolute path of a unix socket"
        if "://" in addr:
            expected += "; password, db and tls have their own settings"
        yield Fault(view.where("redis.addr"), "redis.addr", MASK if "@" in addr else quoted(addr), expected)


@_rule("redis.sentinel_master", "redis.sentinel_addrs", "redis.addr")
def _sentinels(view: View) -> Iterator[Fault]:
    redis = view.config.redis
    for number, addr in enumerate(redis.sentinel_addrs):
        if not is_host_port(addr):
            where = view.where("redis.sentinel_addrs", number)
            yield Fault(where, "redis.sentinel_addrs", MASK if "@" in addr else quoted(addr), "host:port of a Sentinel")
    if redis.sentinel_master and not redis.sentinel_addrs:
        found = f"{quoted(redis.sentinel_master)} without redis.sentinel_addrs"
        yield Fault(view.where("redis.sentinel_master"), "redis.sentinel_master", found, "both or neither")
    if redis.sentinel_addrs and not redis.sentinel_master:
        where = view.where("redis.sentinel_addrs")
        yield Fault(where, "redis.sentinel_addrs", "it without redis.sentinel_master", "both or neither")
    if redis.addr and redis.sentinel_addrs:
        found = f"it beside redis.sentinel_addrs ({view.where('redis.sentinel_addrs')})"
        yield Fault(view.where("redis.addr"), "redis.addr", found, "only one of the two")


@_rule("redis.tls", "redis.addr", "redis.ca_file", "redis.cert_file", "redis.key_file")
def _redis_tls(view: View) -> Iterator[Fault]:
    redis = view.config.redis
    for key, value in (("ca_file", redis.ca_file), ("cert_file", redis.cert_file), ("key_file", redis.key_file)):
        if value and redis.tls is not True:
            yield Fault(
                view.where(f"redis.{key}"), f"redis.{key}", f"{quoted(value)} without TLS", "redis.tls: true with it"
            )
    for key, value, other in (
        ("cert_file", redis.cert_file, redis.key_file),
        ("key_file", redis.key_file, redis.cert_file),
    ):
        if value and not other:
            partner = "key_file" if key == "cert_file" else "cert_file"
            yield Fault(view.where(f"redis.{key}"), f"redis.{key}", quoted(value), f"redis.{partner} with it")
    if redis.tls and is_socket_path(redis.addr):
        found = f"true for the unix socket {quoted(redis.addr)}"
        yield Fault(view.where("redis.tls"), "redis.tls", found, "no TLS on a unix socket")


def _named(view: View) -> list[tuple[str, str, str]]:
    """Key, place and name of each configured queue; an exact repeat in the list counts once."""
    worker = view.config.worker
    named = [("worker.queue", view.where("worker.queue"), worker.queue)] if worker.queue else []
    listed = {name: number for number, name in reversed(list(enumerate(worker.queues)))}
    for name, number in sorted(listed.items(), key=lambda pair: pair[1]):
        named.append(("worker.queues", view.where("worker.queues", number), name))
    return named


def _header_value(view: View, key: str, text: str) -> Iterator[Fault]:
    if text and not (text.isascii() and text.isprintable() and text == text.strip()):
        expected = "printable ASCII characters in one line, without spaces around them: it is sent in a header"
        yield Fault(view.where(key), key, MASK, expected)


def _same(name: str) -> str:
    """One spelling for names that differ only in the separator after the parent."""
    parent = queues.parent_of(name)
    return name if queues.is_parent(name) else f"{parent}.{name[len(parent) + 1 :]}"
