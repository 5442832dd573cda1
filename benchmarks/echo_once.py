"""One-shot task code: one task, then the end."""

import json
import sys

print(json.dumps({"status": "ready"}), flush=True)
task = json.loads(sys.stdin.readline())
print(json.dumps({"task_id": task["task_id"], "result": task["payload"], "error": None, "retry": False}), flush=True)
