"""`runqy-worker run --daemon`: a real worker in the background."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from integration.daemon.conftest import is_alive, until

if TYPE_CHECKING:
    from integration.daemon.conftest import Daemons


def test_the_command_ends_when_the_worker_is_ready_and_the_worker_goes_on(daemons: Daemons) -> None:
    done = daemons.start()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert '"action":"ready"' in daemons.log()
    pid = daemons.pid
    assert is_alive(pid)
    assert os.getsid(pid) != os.getsid(0)
    (task,) = daemons.site.enqueue("jobs.default", {"n": 1})
    assert daemons.site.finished(task).state == "completed"
    os.kill(pid, signal.SIGTERM)
    until(lambda: not is_alive(pid), "the end")
    assert not daemons.pid_file.exists()
    assert '"action":"worker_stopped"' in daemons.log()


def test_a_second_start_is_refused_and_leaves_the_first_alone(daemons: Daemons) -> None:
    daemons.start()
    pid = daemons.pid
    again = daemons.start()
    assert again.returncode == 1
    assert f"a worker runs already, process {pid}, says {daemons.pid_file}" in again.stderr
    assert daemons.pid == pid
    assert is_alive(pid)


def test_the_file_of_a_killed_worker_is_taken_over(daemons: Daemons) -> None:
    daemons.start()
    pid = daemons.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), "the end")
    assert daemons.pid == pid
    assert daemons.start().returncode == 0
    assert daemons.pid != pid


def test_a_number_that_is_somebody_elses_by_now_hinders_nobody(daemons: Daemons) -> None:
    daemons.pid_file.write_text(f"{os.getpid()}\n")
    assert daemons.start().returncode == 0
    assert daemons.pid != os.getpid()


def test_a_configuration_that_cannot_be_used_starts_nothing(daemons: Daemons) -> None:
    daemons.write(lease={"duration": "soon"})
    done = daemons.start()
    assert done.returncode == 78
    assert "lease.duration" in done.stderr
    assert not daemons.pid_file.exists()


def test_a_worker_that_gives_up_ends_the_command_with_its_code_and_reason(daemons: Daemons) -> None:
    daemons.site.queues["jobs"]["deployment"]["git_url"] = "/nowhere/at/all"
    daemons.write(bootstrap={"give_up": True})
    done = daemons.start()
    assert done.returncode == 78
    assert "/nowhere/at/all" in done.stderr
    until(lambda: not daemons.pid_file.exists(), "the end of the pid file")


def test_one_that_is_not_ready_in_time_goes_on(daemons: Daemons) -> None:
    done = daemons.start("--start-timeout", "10ms")
    assert done.returncode == 75
    assert "the worker is not ready after 0.01 s; it goes on trying" in done.stderr
    (task,) = daemons.site.enqueue("jobs.default", 1)
    assert daemons.site.finished(task).state == "completed"


def test_whoever_waits_hears_what_the_worker_waits_for(daemons: Daemons) -> None:
    url = daemons.site.queues["jobs"]["deployment"]["git_url"]
    daemons.site.queues["jobs"]["deployment"]["git_url"] = "/nowhere/at/all"
    daemons.write()
    with daemons.begin() as command:
        assert command.stderr is not None
        assert "jobs: not ready, trying again in" in command.stderr.readline()
        daemons.site.queues["jobs"]["deployment"]["git_url"] = url
        daemons.write()
        assert command.wait(timeout=60) == 0


def test_a_rotated_log_is_followed_and_hup_deploys(daemons: Daemons) -> None:
    daemons.start()
    old = daemons.directory / "worker.log.1"
    daemons.log_file.rename(old)
    os.kill(daemons.pid, signal.SIGHUP)
    until(lambda: '"action":"reload_finished"' in daemons.log(), "the reload, in the new file")
    assert '"action":"reload_started"' not in old.read_text()
    targets = {str(Path(f"/proc/{daemons.pid}/fd/{number}").readlink()) for number in (1, 2)}
    assert targets == {str(daemons.log_file)}


def test_flags_that_do_not_go_together_are_explained(daemons: Daemons) -> None:
    (task,) = daemons.site.enqueue("jobs.default", 1)
    worker = daemons.site.start("--pid-file", str(daemons.pid_file))
    assert worker.process.wait(timeout=30) == 64
    assert "--pid-file: found it without --daemon" in worker.log_text()
    worker = daemons.site.start("--daemon")
    assert worker.process.wait(timeout=30) == 64
    assert "--daemon: found it without --pid-file" in worker.log_text()
    assert daemons.site.task(task).state == "pending"


def test_a_pid_file_that_cannot_be_written_is_named(daemons: Daemons) -> None:
    daemons.pid_file = daemons.directory / "no" / "where.pid"
    done = daemons.start()
    assert done.returncode == 1
    assert f"the pid file {daemons.pid_file} can't be written: No such file or directory" in done.stderr
