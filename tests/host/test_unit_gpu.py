"""The CUDA drop-in, on a machine whose driver, tools and management library are stand-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host.codes import serving
from host.probing import ask_health
from host.rootfs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host.instance import Instance
    from host.machine import Machine
    from host.site import HostSite

CUDA = (ROOT / "systemd" / "drop-ins" / "cuda.conf").read_text()
UUID = "GPU-3b1c7e52-8d0f-4c4e-9a51-0d6f2a7b9c11"

OPENS = serving("""\
import os
def work(paths):
    said = {"cuda": os.environ.get("CUDA_VISIBLE_DEVICES"), "order": os.environ.get("CUDA_DEVICE_ORDER")}
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDWR))
            said[path] = "opened"
        except OSError as error:
            said[path] = os.strerror(error.errno)
    return said
""")
# Loading the "driver" makes its device group known, by a name that only the glob knows; then nodes are made. Behind the
# first is a real driver that everybody may open, behind the second none, which is told only to who may try.
MODPROBE = """\
#!/bin/sh -eu
echo "nvidia-modprobe $*" >>/run/gpu-calls
if ! grep -q nvidia /proc/devices; then
    sed 's/^ 10 misc$/ 10 nvidia-frontend/' /proc/devices >/run/gpu-devices
    mount --bind /run/gpu-devices /proc/devices
fi
test -e /dev/nvidia0 || mknod -m 666 /dev/nvidia0 c 10 229
test -e /dev/nothing || mknod -m 666 /dev/nothing c 240 0
"""
SMI = '#!/bin/sh\necho "nvidia-smi $*" >>/run/gpu-calls\n'


# What pynvml asks for, answered for one GPU.
NVML = """\
#include <string.h>
typedef struct { unsigned gpu, memory; } Use;
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = handle; return 0; }
int nvmlDeviceGetName(void *handle, char *name, unsigned length) { strncpy(name, "Stand-in 9000", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *info) {
    info[0] = 8ULL << 30; info[1] = 6ULL << 30; info[2] = 2ULL << 30; return 0;  /* total, free, used */
}
int nvmlDeviceGetUtilizationRates(void *handle, Use *use) { use->gpu = 42; use->memory = 7; return 0; }
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *degrees) { *degrees = 55; return 0; }
"""


@pytest.fixture
def gpu_machine(site: HostSite) -> Iterator[Machine]:
    machine = site.machine
    machine.write("/usr/bin/nvidia-modprobe", MODPROBE, mode="755")
    machine.write("/usr/bin/nvidia-smi", SMI, mode="755")
    machine.write("/root/nvml.c", NVML)
    machine.sh("cc -shared -fPIC -o /usr/lib/libnvidia-ml.so.1 /root/nvml.c && ldconfig")
    yield machine
    machine.sh(
        "! mountpoint -q /proc/devices || umount /proc/devices\n"
        "rm -f /usr/lib/libnvidia-ml.so.1 /usr/bin/nvidia-* /run/gpu-* /dev/nvidia0 /dev/nothing"
    )


def test_devices_are_made_before_the_worker_starts_and_only_the_gpu_s_may_be_opened(
    site: HostSite, gpu_machine: Machine
) -> None:
    instance = _instance(site, {"cuda.conf": CUDA})
    instance.start()
    assert gpu_machine.read("/run/gpu-calls").splitlines() == ["nvidia-modprobe -c 0 -u", "nvidia-smi --list-gpus"]
    assert instance.answer(["/dev/nvidia0", "/dev/nothing", "/dev/null"]) == {
        "cuda": UUID,
        "order": "PCI_BUS_ID",
        "/dev/nvidia0": "opened",
        "/dev/nothing": "Operation not permitted",
        "/dev/null": "opened",
    }


def test_figures_of_the_gpu_are_shown(site: HostSite, gpu_machine: Machine) -> None:
    instance = _instance(site, {"cuda.conf": CUDA})
    instance.start()
    labels = '{gpu="0",name="Stand-in 9000"}'
    expected = {f"runqy_worker_gpu_utilization_ratio{labels} 0.42", f"runqy_worker_gpu_temperature_celsius{labels} 55"}
    gpu_machine.until(
        lambda: expected <= set(ask_health(gpu_machine, instance, "/metrics").splitlines()), "the figures"
    )


def test_without_the_drop_in_there_is_no_gpu(site: HostSite, gpu_machine: Machine) -> None:
    gpu_machine.run("nvidia-modprobe")
    instance = _instance(site, {})
    instance.start()
    said = instance.answer(["/dev/nvidia0", "/dev/null"])
    assert said["/dev/nvidia0"] == "No such file or directory"
    assert said["/dev/null"] == "opened"


def test_a_host_without_a_gpu_starts_a_worker_with_the_drop_in_too(site: HostSite) -> None:
    instance = _instance(site, {"cuda.conf": CUDA})
    instance.start()
    assert instance.answer(["/dev/nvidia0"])["/dev/nvidia0"] == "No such file or directory"


def _instance(site: HostSite, drop_ins: dict[str, str]) -> Instance:
    instance = site.instance({"main.py": OPENS}, drop_ins=drop_ins)
    instance.variables(CUDA_VISIBLE_DEVICES=UUID)
    return instance
