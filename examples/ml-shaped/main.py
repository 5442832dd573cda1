"""Tells which language a text is in: shaped like a service with a large model, which is loaded once, before `ready`."""

import json
import sys

from model import load


class TransientError(Exception):
    """Something that may work later: an overloaded neighbour, a lost connection."""


def log(text):
    print(text, file=sys.stderr, flush=True)


def predict(model, task):
    payload = task["payload"] or {}
    if task.get("retry_count", 0) < payload.get("flaky_for", 0):
        raise TransientError("the feature store did not answer")  # stands for what a network does now and then
    text = payload.get("text")
    if not isinstance(text, str):
        raise ValueError(f"text: found {text!r}, expected a string")  # noqa: TRY004 - told apart from a bug
    return model.predict(text)


def main():
    try:
        model = load(lambda done, of, name: log(f"loading the model: {done} of {of} ({name})"))
    except OSError as error:  # `ready` would be a lie; the worker shows this and tries again later
        print(json.dumps({"status": "error", "error": str(error)}), flush=True)
        sys.exit(1)
    print(json.dumps({"status": "ready"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        answer = {"task_id": task["task_id"], "result": None, "error": None, "retry": False}
        try:
            answer["result"] = predict(model, task)
        except TransientError as error:
            answer.update(error=str(error), retry=True)
        except ValueError as error:
            answer.update(error=str(error))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
