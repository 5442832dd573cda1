"""Instances with and without a GPU on one host."""

from __future__ import annotations

from fleet import checks
from fleet.hosts import Worker

UUID = "GPU-3b1c7e52-8d0f-4c4e-9a51-0d6f2a7b9c11"
ASKED = {"ask": "open", "paths": ["/dev/nvidia0", "/dev/nothing", "/dev/null"]}


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


def test_the_worker_runs_in_its_sandbox_and_does_tasks(host):
    checks.check_worker(Worker(host, "inference"), score=checks.CUDA_SCORE)


def test_devices_are_made_before_the_worker_starts_and_only_the_gpu_s_may_be_opened(host):
    first, second, *_ = host.file("/run/gpu-calls").content_string.splitlines()
    assert (first, second) == ("nvidia-modprobe -c 0 -u", "nvidia-smi --list-gpus")
    assert Worker(host, "inference").answers(ASKED) == [
        {"/dev/nvidia0": "opened", "/dev/nothing": "Operation not permitted", "/dev/null": "opened"}
    ]


def test_the_instance_sees_the_gpu_that_was_chosen(host):
    (environ,) = Worker(host, "inference").answers({"ask": "environ"})
    assert (environ["CUDA_VISIBLE_DEVICES"], environ["CUDA_DEVICE_ORDER"]) == (UUID, "PCI_BUS_ID")
    assert Worker(host, "inference").show("MemoryMax") == str(24 << 30)


def test_an_instance_for_the_cpu_sees_no_gpu(host):
    (said,) = Worker(host, "reports").answers(ASKED)
    assert said == {
        "/dev/nvidia0": "No such file or directory",
        "/dev/nothing": "No such file or directory",
        "/dev/null": "opened",
    }
    (environ,) = Worker(host, "reports").answers({"ask": "environ"})
    assert "CUDA_VISIBLE_DEVICES" not in environ
