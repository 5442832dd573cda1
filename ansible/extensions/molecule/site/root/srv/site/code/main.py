"""Task code of the test site: answers with what it was asked for, and notes each task that it did in $HOME/done."""

import json
import os
import sys
import time
from pathlib import Path


def answer(payload):
    if payload.get("ask") == "environ":
        return dict(os.environ)
    if payload.get("ask") == "open":
        return {path: attempt(path) for path in payload["paths"]}
    time.sleep(payload.get("sleep", 0))
    with Path(os.environ["HOME"], "done").open("a", encoding="utf-8") as done:
        done.write(f"{payload['number']}\n")
    return payload["number"]


def attempt(path):
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return os.strerror(error.errno)
    return "opened"


print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"task_id": task["task_id"], "result": answer(task["payload"])}), flush=True)
