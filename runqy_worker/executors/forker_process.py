"""Forks on the daemon's behalf: a program of its own, started by `forker.py`, which imports nothing of ours.

Forking the daemon would copy the page tables of all its memory, and hold up its event loop meanwhile; this process is
small. What it makes is a child of the daemon all the same (CLONE_PARENT): the daemon waits for it, the kernel kills it
with the daemon, and nothing happens to it when this process ends.

Arguments: a name, for those who list processes, the descriptor of a SOCK_STREAM socket, the daemon's process id, the
number of the system call `clone`.
A request is one byte, and with it the descriptors of a job (see `forker.encode_job`), stdin, stdout and stderr. An
answer is two ints: the new process's id, and an error number, 0 if the program was started. An answer of two zeros
comes first, and says that requests are taken.
"""

import ctypes
import errno
import gc
import marshal
import os
import signal
import socket
import struct
import sys

CLONE_VFORK = 0x4000
CLONE_PARENT = 0x8000
PR_SET_PDEATHSIG = 1
OOM_STEP = 300
OOM_MOST = 1000
ANSWER = struct.Struct("ii")
DESCRIPTORS = struct.Struct("4i")

# Without letting go of the interpreter's lock: there is no other thread, and after a clone there must be none.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = [ctypes.c_long] * 6
_syscall.restype = ctypes.c_long


def serve(connection: socket.socket, daemon: int, clone: int) -> None:
    """Answer requests until the daemon is gone."""
    # What a new process could not do is read here; it says nothing when its program was started.
    complaints, complain = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    connection.sendall(ANSWER.pack(0, 0))
    while True:
        request, extra, _, _ = connection.recvmsg(1, socket.CMSG_LEN(DESCRIPTORS.size), socket.MSG_CMSG_CLOEXEC)
        if not request:
            return
        received = b"".join(data for _, _, data in extra)
        descriptors = struct.unpack(f"{len(received) // 4}i", received)
        if len(received) == DESCRIPTORS.size:
            job = os.pread(descriptors[0], os.fstat(descriptors[0]).st_size, 0)
            pid, error = _start(marshal.loads(job), descriptors[1:], daemon, clone, complain)  # noqa: S302 - the daemon's
            if pid > 0:
                error = _heard(complaints)
        else:  # this process has as many descriptors open as it may
            pid, error = 0, errno.EMFILE
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(ANSWER.pack(pid, error))


def _start(
    job: tuple[tuple[bytes, ...], tuple[bytes, ...], bytes, dict[bytes, bytes]],
    streams: tuple[int, ...],
    daemon: int,
    clone: int,
    complain: int,
) -> tuple[int, int]:
    """The new process's id and 0, or 0 and an error number. Returns once the program was started, or was not."""
    # CLONE_VFORK: this process waits meanwhile, so that only one of the two touches pages that they share.
    pid = _syscall(clone, CLONE_PARENT | CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        return 0, ctypes.get_errno()
    if pid > 0:
        return pid, 0
    error = 0
    try:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != daemon:  # it died before the kernel was told
            os._exit(1)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        error = _become(*job)
    except OSError as reason:
        error = reason.errno or errno.EACCES
    finally:
        os.write(complain, ANSWER.pack(0, error))
        os._exit(255)


def _become(programs: tuple[bytes, ...], argv: tuple[bytes, ...], directory: bytes, environ: dict[bytes, bytes]) -> int:
    """Become the first of the programs that is there. Returns only an error number."""
    os.chdir(directory)
    missing = refused = 0
    for program in programs:
        try:
            os.execve(program, argv, environ)  # noqa: S606 - that is what it is asked for
        except (FileNotFoundError, NotADirectoryError):
            missing = errno.ENOENT
        except OSError as reason:
            refused = refused or reason.errno or errno.EACCES
    return refused or missing


def _heard(complaints: int) -> int:
    try:
        return int(ANSWER.unpack(os.read(complaints, ANSWER.size))[1])
    except BlockingIOError:
        return 0


def main() -> None:
    """Prepare once what every new process inherits."""
    os.close(int(sys.argv[0].rpartition("/")[2]))  # this program's text, from which it was started
    descriptor, daemon, clone = (int(argument) for argument in sys.argv[2:])
    os.set_inheritable(descriptor, False)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by the interpreter
        signal.signal(ignored, signal.SIG_DFL)
    try:  # the task code goes before the daemon when memory runs out; only a preference
        with open("/proc/self/oom_score_adj", "r+") as file:  # noqa: PTH123 - pathlib costs memory that each fork copies
            wanted = min(int(file.read()) + OOM_STEP, OOM_MOST)
            file.seek(0)
            file.write(str(wanted))
    except (OSError, ValueError):
        pass
    gc.freeze()  # a collection would touch every page
    gc.disable()
    with socket.socket(fileno=descriptor) as connection:
        serve(connection, daemon, clone)


if __name__ == "__main__":
    main()
