"""Counts words, with the `runqy-python` package: the protocol is its business."""

from collections import Counter

from runqy_python import RetryableError, load, run, task


@load
def setup():
    """Runs once, before the worker is told that the process is ready."""
    return {"ignored": {"a", "an", "and", "the"}}


@task
def count_words(payload, context):
    if payload.get("try_later"):
        raise RetryableError("asked to try later")
    words = [word for word in payload["text"].lower().split() if word not in context["ignored"]]
    print("counted", len(words), "words")  # the package sends prints to the log
    return {"words": len(words), "most_common": Counter(words).most_common(3)}


if __name__ == "__main__":
    run()
