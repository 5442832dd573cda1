"""The task code that is measured: plain json and sys.stdin, nothing else."""

import json
import sys

print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print(
        json.dumps({"task_id": task["task_id"], "result": task["payload"], "error": None, "retry": False}), flush=True
    )
