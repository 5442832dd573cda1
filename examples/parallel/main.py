"""Works on several tasks at once in one process, as a client of slow services does."""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

AT_ONCE = int(os.environ.get("TASKS_AT_ONCE", "4"))
_stdout = threading.Lock()


def say(document):
    line = json.dumps(document)
    with _stdout:  # two answers must not end up on one line
        print(line, flush=True)


def fetch(payload):
    seconds = payload.get("seconds", 0)
    time.sleep(seconds)  # stands for waiting for somebody else's answer
    return {"waited": seconds}


def work(task):
    answer = {"task_id": task["task_id"], "result": None, "error": None, "retry": False}
    try:
        answer["result"] = fetch(task["payload"] or {})
    except Exception as error:  # noqa: BLE001 - a task without an answer would wait until its time is up
        answer.update(error=repr(error))
    say(answer)


def main():
    say({"status": "ready", "concurrency": AT_ONCE})
    with ThreadPoolExecutor(AT_ONCE) as pool:  # on leaving, what was begun is finished and answered
        for line in sys.stdin:
            pool.submit(work, json.loads(line))


if __name__ == "__main__":
    main()
