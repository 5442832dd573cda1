"""Greets whoever the task names. One process serves many tasks; nothing but the standard library."""

import json
import os
import sys

GREETING = os.environ.get("GREETING", "Hello")


def greet(payload):
    name = payload.get("name")
    if not name:
        raise ValueError("the payload needs a name")
    return {"greeting": f"{GREETING}, {name}!"}


def answer(task_id, result=None, error=None, retry=False):
    print(json.dumps({"task_id": task_id, "result": result, "error": error, "retry": retry}), flush=True)


def main():
    print("hello is ready to greet", file=sys.stderr)  # stderr goes to the log, stdout belongs to the protocol
    print(json.dumps({"status": "ready"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            result = greet(task["payload"] or {})
        except ValueError as error:  # trying the same payload again would not help
            answer(task["task_id"], error=str(error), retry=False)
        else:
            answer(task["task_id"], result)


if __name__ == "__main__":
    main()
