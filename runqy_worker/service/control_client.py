"""Asks a running worker over its control socket. Blocking, and quick to load."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from typing import TYPE_CHECKING, Any

from runqy_worker.domain.errors import ControlError
from runqy_worker.service.control_protocol import (
    BEAT,
    LONGEST_ANSWER,
    NEWEST,
    OLDEST,
    decode_answer,
    encode,
    versions,
)
from runqy_worker.service.unix_socket import reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE = 4 * BEAT
"""Seconds without a line after which the worker is taken to hang."""


def ask(
    path: Path,
    verb: str,
    *,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    patience: float = PATIENCE,
    **arguments: object,
) -> dict[str, Any]:
    """Send one request and wait for the final line.

    Args:
        path: Of the socket.
        verb: What is asked for.
        on_progress: Called with each line of progress.
        patience: Seconds that may pass without a line.
        arguments: More keys of the request.

    Returns:
        The final line.

    Raises:
        ControlError: Nobody listens, access is refused, there is no answer, or it is no; `reason` says which.
    """
    with _connect(path, patience) as connection:
        for answer in _answers(connection, path, {"verb": verb, **arguments}):
            if answer.get("final", True):
                return _checked(answer)
            if on_progress is not None and isinstance(answer.get("progress"), dict):
                on_progress(answer["progress"])
    raise ControlError(f"{path}: the worker ended before it answered", reason="no_answer")


def _connect(path: Path, patience: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience)
    try:
        with reachable(path) as address:
            connection.connect(address)
    except (FileNotFoundError, NotADirectoryError):
        error = ControlError(f"no worker is running: there is no {path}", reason="not_running")
    except ConnectionRefusedError:
        error = ControlError(f"no worker is running: nobody listens at {path}", reason="not_running")
    except PermissionError:
        error = ControlError(f"{path}: access is refused; {_who_may(path)}", reason="forbidden")
    except TimeoutError:
        error = ControlError(f"{path}: the worker takes no connection within {patience:g} s", reason="no_answer")
    except OSError as cause:
        error = ControlError(f"{path}: can't be reached: {cause.strerror or cause}", reason="no_answer")
    else:
        return connection
    connection.close()
    raise error


def _answers(connection: socket.socket, path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        with contextlib.suppress(BrokenPipeError):  # it said no without having listened: that can still be read
            connection.sendall(encode(request))
        with connection.makefile("rb") as stream:
            while line := stream.readline(LONGEST_ANSWER):
                yield decode_answer(line)
    except TimeoutError:
        message = f"{path}: the worker does not answer: nothing came for {connection.gettimeout():g} s"
        raise ControlError(message, reason="no_answer") from None
    except ConnectionResetError:
        raise ControlError(f"{path}: the worker ended before it answered", reason="no_answer") from None


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("ok"):
        return answer
    reason, text = str(answer.get("reason", "failed")), str(answer.get("error", "no reason was given"))
    if reason == "version":
        oldest, newest = answer.get("oldest", "?"), answer.get("newest", "?")
        text = (
            f"the worker runs another version of this program ({answer.get('program', 'unknown')}), with "
            f"{versions(oldest, newest)} of the control protocol; here it is {versions(OLDEST, NEWEST)}: restart the "
            "worker, or ask with the version that it runs"
        )
    raise ControlError(text, reason=reason)


def _who_may(path: Path) -> str:
    try:
        gid = path.stat().st_gid
        group = grp.getgrgid(gid).gr_name
    except (OSError, KeyError):
        return "root and the members of its group may ask"
    return f"root and the members of the group {group} may ask (this is user {os.geteuid()})"
