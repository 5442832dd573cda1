from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOK = """
import ctypes, os, sys
from runqy_worker.service.privacy import hide_memory
if os.getuid() == 0:  # who may do everything may also look
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user hides a process, too
if sys.argv[1] == "hidden":
    hide_memory()
parent, child = os.getpid(), os.fork()
if child:
    os.waitpid(child, 0)
else:
    try:
        open(f"/proc/{parent}/environ", "rb").close()
        print("seen")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps processes apart in this way")
@pytest.mark.parametrize(("how", "answer"), [("open", "seen\n"), ("hidden", "refused\n")])
def test_a_process_of_the_same_user_cannot_look_into_one_that_hides(how: str, answer: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", LOOK, how], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == answer
