"""A client of the control server.

client.py ping                   returns when the server answers
client.py do QUEUE PAYLOAD...    has tasks done, and prints what became of them
client.py feed QUEUE             sends a numbered task now and then until feed.stop appears; ids are in sent.json then
client.py wait                   prints what became of the tasks whose ids stdin has
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SERVER = "http://127.0.0.1:3000"
KEY = "client-key"
PATIENCE = 120
STOP, SENT = Path("/srv/site/feed.stop"), Path("/srv/site/sent.json")


def main():
    verb, *words = sys.argv[1:]
    if verb == "ping":
        while not answers():
            time.sleep(0.1)
    elif verb == "feed":
        feed(*words)
    elif verb == "do":
        print(json.dumps([finished(task_id) for task_id in send(*words)]))
    else:
        print(json.dumps([finished(task_id) for task_id in json.load(sys.stdin)]))


def send(queue, *payloads):
    jobs = [json.loads(payload) for payload in payloads]
    return call("/queue/add-batch", {"queue": queue, "jobs": jobs, "timeout": 60})["task_ids"]


def feed(queue):
    ids = []
    while not STOP.exists():
        ids += send(queue, json.dumps({"number": len(ids), "sleep": 0.05}))
        time.sleep(0.1)
    new = SENT.with_suffix(".new")
    new.write_text(json.dumps(ids))
    new.rename(SENT)


def answers():
    try:
        return call("/health")
    except OSError:
        return None


def finished(task_id):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            task = call(f"/queue/{task_id}?wait=true")["Info"]
        except urllib.error.HTTPError as error:
            if error.code != 408 or time.monotonic() > deadline:
                raise
        else:
            return {"state": task["state"], "result": json.loads(task["Result"] or "null"), "error": task["LastErr"]}


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data, {"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


main()
