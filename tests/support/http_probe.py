"""Asks a worker how it is doing, as probes and Prometheus do."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from runqy_worker.config.addresses import listen_address
from runqy_worker.service.unix_socket import reachable

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `headers` by name in lower case."""

    status: int
    text: str
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The body as JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.text)

    def metrics(self) -> Metrics:
        """The body as metrics."""
        assert self.status == 200, self.text
        return Metrics(self.text)


class Metrics:
    """What Prometheus' own parser reads from a text."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, /, **labels: str) -> float:
        """The sample with exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def names(self) -> set[str]:
        """The metrics' names as the text gives them."""
        suffix = {"counter": "_total"}
        return {family.name + suffix.get(family.type, "") for family in self.families.values()}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with reachable(self._path) as address:
            self.sock.connect(address)


def ask(address: str, path: str, *, method: str = "GET", **headers: str) -> Answer:
    """Ask at `unix:PATH` or `HOST:PORT`."""
    place = listen_address(address)
    assert place is not None, address
    connection = (
        _UnixConnection(Path(place)) if isinstance(place, str) else http.client.HTTPConnection(*place, timeout=10)
    )
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.read().decode(), fields)
    finally:
        connection.close()
