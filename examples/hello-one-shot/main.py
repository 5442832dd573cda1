"""Greets once and ends. A fresh process for each task, so that nothing is left over from the one before."""

import json
import os
import sys


def main():
    print(json.dumps({"status": "ready"}), flush=True)
    line = sys.stdin.readline()
    if not line:  # started ahead of time, and not needed after all
        return
    task = json.loads(line)
    name = (task["payload"] or {}).get("name", "world")
    result = {"greeting": f"Hello, {name}!", "pid": os.getpid()}
    print(json.dumps({"task_id": task["task_id"], "result": result, "error": None, "retry": False}), flush=True)


if __name__ == "__main__":
    main()
