"""Whether git gets at the task code, with the worker's own credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING

from runqy_worker.deployment.child_environment import service_environment
from runqy_worker.deployment.git_access import GitAccess
from runqy_worker.deployment.git_errors import git_error
from runqy_worker.deployment.redaction import Redactor
from runqy_worker.deployment.remote import Remote, Transport, parse_remote
from runqy_worker.deployment.secret_files import SecretFiles
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning
from runqy_worker.doctor.preparing import hand_over
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.doctor.subject import Subject

_TAIL = 40
_SHORT = 12


async def look(subject: Subject) -> list[Finding]:
    """Ask each distinct repository for its branch."""
    registered = await subject.registered()
    if not registered:
        return [note("not asked, since the server did not say where the task code is")]
    if shutil.which("git", path=subject.environ.get("PATH")) is None:
        return [problem("git is missing", "apt-get install git")]
    wanted = {(each.deployment.git_url, each.deployment.branch): each for each in registered}
    return [finding for each in wanted.values() for finding in await _ask(subject, each)]


async def _ask(subject: Subject, registration: Registration) -> list[Finding]:
    branch = registration.deployment.branch
    ref = "" if branch == "HEAD" else branch
    try:
        remote = parse_remote(registration.deployment.git_url)
    except DeploymentError as error:
        return [problem(str(error), "mend the queue's git_url")]
    with SecretFiles({"RUNTIME_DIRECTORY": str(subject.scratch)}) as secrets:
        access = GitAccess(
            remote,
            subject.config.git,
            token=registration.git_token,
            secrets=secrets,
            environ=service_environment(subject.environ),
            state=subject.scratch / "git",
        )
        hand_over(subject.scratch, subject.account)
        code, said = await _ls_remote(subject, access, remote, ref)
    redact = Redactor(*access.secrets, *registration.secrets)
    if code != 0:
        refusal = git_error(
            tuple(redact(line) for line in said.splitlines()[-_TAIL:]),
            doing=f"asking {remote.url}",
            host=remote.host or "the repository",
            url=remote.url,
            ref=repr(ref) if ref else "the default branch",
            known_hosts=access.known_hosts or "the user's own",
            ssh_key=subject.config.git.ssh_key or "the user's own",
        )
        return [problem(str(refusal), "mend the queue's git_url, or git.token_file, git.ssh_key and git.known_hosts")]
    found = [*_unencrypted(remote, access)]
    commit = said.partition("\t")[0][:_SHORT]
    if commit:
        return [*found, ok(f"{remote.url} has {ref or 'its default branch'} at {commit}")]
    if ref and set(ref) <= set("0123456789abcdef"):
        return [*found, ok(f"{remote.url} answers; whether it has the commit {ref[:_SHORT]} shows at a deploy")]
    text = f"{remote.url} has no branch or tag {ref!r}" if ref else f"{remote.url} has no default branch"
    return [*found, problem(text, "mend the queue's branch")]


def _unencrypted(remote: Remote, access: GitAccess) -> list[Finding]:
    if access.password and remote.transport is Transport.HTTP and remote.url.startswith("http:"):
        return [warning(f"the token for {remote.origin} travels unencrypted", "use https in the queue's git_url")]
    return []


async def _ls_remote(subject: Subject, access: GitAccess, remote: Remote, ref: str) -> tuple[int, str]:
    """Exit status and output of `git ls-remote`, run as the worker's user."""
    patterns = [f"refs/heads/{ref}", f"refs/tags/{ref}", ref] if ref else ["HEAD"]
    account = subject.account
    switches = os.geteuid() == 0 and account.uid != 0
    process = await asyncio.create_subprocess_exec(
        *("git", *access.arguments(), "ls-remote", "--quiet", "--", remote.url, *patterns),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=access.environment(),
        cwd=subject.scratch,
        start_new_session=True,
        user=account.uid if switches else None,
        group=account.gid if switches else None,
        extra_groups=account.groups if switches else None,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")
