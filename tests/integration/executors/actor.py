"""Task code for tests: does what each payload says. Options come as JSON in argv[1]."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
LOCK = threading.Lock()


def say(text: str) -> None:
    with LOCK:
        sys.stdout.write(text)
        sys.stdout.flush()


def answer(task_id: str, result: object = None, error: object = None, *, retry: bool = False) -> None:
    say(json.dumps({"task_id": task_id, "result": result, "error": error, "retry": retry}) + "\n")


def raw(text: str) -> None:
    """Write bytes given as Latin-1 text."""
    with LOCK:
        sys.stdout.flush()
        os.write(1, text.encode("latin-1"))


def grandchild(task_id: str, *, hold: bool) -> int:
    """Start a process that outlives this one; with `hold` it keeps our pipes open."""
    keep = None if hold else subprocess.DEVNULL
    code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    return subprocess.Popen([sys.executable, "-ISc", code], stdin=keep, stdout=keep, stderr=keep).pid


def do(task: dict[str, Any]) -> None:  # noqa: PLR0912 - a list of tricks
    task_id, payload = task["task_id"], task["payload"] or {}
    what = payload.get("do", "echo")
    if "log" in payload:
        with Path(payload["log"]).open("a") as log:
            log.write(task_id + "\n")
    if what == "echo":
        answer(task_id, payload.get("value"))
    elif what == "pid":
        answer(task_id, os.getpid())
    elif what == "request":
        answer(task_id, task)
    elif what == "sleep":
        time.sleep(payload["seconds"])
        answer(task_id, "slept")
    elif what == "wait":
        while not Path(payload["file"]).exists():
            time.sleep(0.005)
        answer(task_id, "waited")
    elif what == "raw":
        raw(payload["text"].replace("ID", task_id))
    elif what == "error":
        answer(task_id, None, payload["error"], retry=payload.get("retry", False))
    elif what == "stderr":
        sys.stderr.write(payload["text"])
        sys.stderr.flush()
        answer(task_id)
    elif what == "exit":
        if "text" in payload:
            sys.stderr.write(payload["text"])
            sys.stderr.flush()
        os._exit(payload["code"])
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "big":
        answer(task_id, "x" * payload["size"])
    elif what == "length":
        answer(task_id, len(payload["value"]))
    elif what == "close stdout":
        os.close(1)
        time.sleep(60)
    elif what == "close stdin":
        os.close(0)
        answer(task_id)
        time.sleep(60)
    elif what == "grandchild":
        answer(task_id, grandchild(task_id, hold=payload["hold"]))
    elif what == "grow":
        globals()["ballast"] = bytearray(os.urandom(1024) * (payload["size"] // 1024))
        answer(task_id)
    else:
        answer(task_id, None, f"unknown trick {what}")


def serve() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        if OPTIONS.get("threads"):
            threading.Thread(target=do, args=(task,), daemon=True).start()
        else:
            do(task)
        if OPTIONS.get("once"):
            break


def main() -> None:
    if OPTIONS.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "starts" in OPTIONS:
        with Path(OPTIONS["starts"]).open("a") as log:
            log.write(f"{os.getpid()}\n")
    if "fail_if" in OPTIONS and Path(OPTIONS["fail_if"]).exists():
        sys.stderr.write("told to fail\n")
        sys.exit(3)
    if "hold_if" in OPTIONS:
        while Path(OPTIONS["hold_if"]).exists():
            time.sleep(0.005)
    raw(OPTIONS.get("before", ""))
    if "exit" in OPTIONS:
        sys.stderr.write(OPTIONS.get("stderr", ""))
        sys.exit(OPTIONS["exit"])
    if OPTIONS.get("never_ready"):
        time.sleep(60)
    ready: dict[str, object] = {"status": "ready"}
    if "concurrency" in OPTIONS:
        ready["concurrency"] = OPTIONS["concurrency"]
    say(json.dumps(ready) + "\n")
    if "die_after" in OPTIONS:
        time.sleep(OPTIONS["die_after"])
        os._exit(7)
    serve()
    if "linger" in OPTIONS:
        time.sleep(OPTIONS["linger"])


main()
