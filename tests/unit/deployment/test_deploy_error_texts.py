from __future__ import annotations

import pytest

from runqy_worker.deployment.git_errors import git_error
from runqy_worker.deployment.install_errors import install_error


@pytest.mark.parametrize(
    ("said", "means", "retryable"),
    [
        (
            "Host key verification failed.\nfatal: Could not read from remote repository.",
            "is not in known_hosts",
            False,
        ),
        ("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@", "differs from the one in known_hosts", False),
        ("git@h: Permission denied (publickey).", "h.example refused the ssh key (/key)", False),
        ('Load key "/key": Permission denied\ngit@h: Permission denied (publickey).', "can't be used", False),
        ("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @", "can be read by others", False),
        ("fatal: Authentication failed for 'https://h.example/r/'", "refused access", False),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "refused access", False),
        ("fatal: couldn't find remote ref refs/heads/x", "'x' does not exist", False),
        ("fatal: repository 'https://h.example/r/' not found", "there is no repository https://h.example/r", False),
        ("fatal: '/srv/r' does not appear to be a git repository", "there is no repository", False),
        ("fatal: unable to access 'u': SSL certificate problem: self-signed certificate", "git.ca_file", False),
        ("fatal: write error: No space left on device", "the disk is full", True),
        ("fatal: unable to access 'u': Could not resolve host: h.example", "can't be resolved", True),
        ("fatal: unable to access 'u': Failed to connect to h port 443", "can't be reached", True),
        ("error: RPC failed; HTTP 502\nfatal: the remote end hung up unexpectedly", "can't be reached", True),
        ("something new", "fetching r failed", True),
    ],
)
def test_what_git_says_is_explained(said: str, means: str, retryable: bool) -> None:
    error = git_error(
        said.splitlines(),
        doing="fetching r",
        host="h.example",
        url="https://h.example/r",
        ref="'x'",
        known_hosts="/known",
        ssh_key="/key",
    )
    assert means in str(error)
    assert said.splitlines()[-1] in str(error)
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("said", "means", "retryable"),
    [
        ("ERROR: No matching distribution found for nosuch==1", "the package nosuch==1 was not found", False),
        ("  x No solution found\n  ╰─▶ Because nosuch was not found in the registry", "package nosuch was not", False),
        ("ERROR: Invalid requirement: '!!'", "a requirement line can't be understood", False),
        ("error: Couldn't parse requirement in `requirements.txt` at position 0", "can't be understood", False),
        ("OSError: [Errno 28] No space left on device", "the disk is full", True),
        ("error: command '/usr/bin/gcc' failed: No such file or directory", "had to be compiled", False),
        ("error: subprocess-exited-with-error", "had to be compiled", False),
        ("Temporary failure in name resolution", "the package index can't be reached", True),
        ("401 Client Error: Unauthorized for url", "refused access", False),
        ("ERROR: Package 'x' requires a different Python: 3.8 not in '>=3.9'", "does not support this Python", False),
        ("something new", "installing requirements.txt failed", False),
    ],
)
def test_what_an_installer_says_is_explained(said: str, means: str, retryable: bool) -> None:
    error = install_error(said.splitlines(), "requirements.txt")
    assert means in str(error)
    assert said.splitlines()[-1] in str(error)
    assert error.retryable is retryable
    assert error.step == "install"
