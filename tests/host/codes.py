"""Task code for the tests: each text is a main.py."""

from __future__ import annotations

_LOOP = """\
import json, os, sys, time
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    try:
        answer = {"result": work(task["payload"])}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps({"task_id": task["task_id"], **answer}), flush=True)
"""


def serving(work: str) -> str:
    """A program that answers each task with what `work(payload)` returns; an exception is its error."""
    return work + "\n\n" + _LOOP


ENVIRON = serving("""\
import os
def work(payload):
    return dict(os.environ)
""")

WAITS_FOR_A_FILE = serving("""\
import os, time
def work(payload):
    open(os.path.join(os.environ["HOME"], "began"), "w").close()
    while not os.path.exists(os.path.join(os.environ["HOME"], "go")):
        time.sleep(0.05)
    return "done"
""")

TALKS = serving("""\
import sys, time
def work(payload):
    print("hello from the task", flush=True)
    print("trouble in the task", file=sys.stderr, flush=True)
    time.sleep(0.2)  # both pipes are read by then
    if payload == "fail":
        raise ValueError("as asked")
    return payload
""")

TRIES_TO_WRITE = serving("""\
import os
def work(paths):
    wrote = []
    for path in paths:
        try:
            with open(os.path.join(path, "written-by-a-task"), "w"):
                wrote.append(path)
        except OSError:
            pass
    return wrote
""")

TRIES_TO_READ = serving("""\
import os
def work(paths):
    seen = {}
    for path in paths:
        try:
            seen[path] = sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
        except OSError as error:
            seen[path] = type(error).__name__
    return seen
""")

EXECUTABLE_MEMORY = """\
import ctypes, mmap
def work(payload):
    import compiled, plain
    doubled = compiled.twice(payload)
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(bytes.fromhex("8d4701c3"))  # lea eax, [rdi + 1]; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    generated = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)
    return [doubled, callback(payload), generated(payload), plain.VERSION]
"""
