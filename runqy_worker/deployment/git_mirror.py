"""A bare mirror per remote, filled with just the commits that were deployed.

Each commit is kept under a ref of its own, so that a release can go on borrowing its objects, and so that a commit
that is here already costs one question to the remote and no download.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.deployment.git_commands import Git

_FULL = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,64}\Z")
_INCOMING = "refs/runqy/incoming"
_COMMITS = "refs/runqy/commits"
_NO_SHALLOW = re.compile(r"dumb http transport does not support|does not support shallow|shallow capabilities")
_UNADVERTISED = re.compile(
    r"unadvertised object|not our ref|no such remote ref|couldn't find remote ref", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the remote has under a name.

    Attributes:
        source: What to ask the remote for: a full ref name or a commit id.
        commit: The commit, when the remote told; empty otherwise.
    """

    source: str
    commit: str = ""


class GitMirror:
    """The mirror of one remote. The caller holds its lock.

    Args:
        git: Runs commands for the remote.
        path: The bare repository; made when missing.
    """

    def __init__(self, git: Git, path: Path) -> None:
        self._git = git
        self.path = path

    async def fetch(self, ref: str, *, partial: bool) -> str:
        """Make the commit that `ref` names present, and return its full id.

        Args:
            ref: Branch, tag, full ref name or commit id; empty for the default branch.
            partial: Leave file contents on the remote until they are checked out, where it allows that.

        Raises:
            DeploymentError: The remote can't be reached, refuses, or has no such ref.
        """
        await self._prepare()
        await asyncio.to_thread(remove_garbage, self.path)
        target = await self._look_up(ref)
        if target.commit and await self._has(target.commit):
            return target.commit
        options = ["--depth=1", *(["--filter=blob:none"] if partial else [])]
        failure = await self._fetch(target.source, options)
        if failure is not None and _NO_SHALLOW.search(str(failure)):
            failure = await self._fetch(target.source, [])
        if failure is not None:
            await asyncio.to_thread(remove_garbage, self.path)
            if _ABBREVIATED.match(target.source) and _UNADVERTISED.search(str(failure)):
                return await self._from_everything(target.source)
            raise failure
        return await self._keep(_INCOMING)

    async def _prepare(self) -> None:
        if (self.path / "HEAD").exists():
            return
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._git.check(
            "init", "--quiet", "--bare", "--template=", str(self.path), cwd=self.path, doing="making the mirror"
        )
        await self._git.check(
            "config", "remote.origin.url", self._git.remote.url, cwd=self.path, doing="making the mirror"
        )

    async def _look_up(self, ref: str) -> Target:
        wanted = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        patterns = ["HEAD"] if not ref else [name for full in wanted for name in (full, f"{full}^{{}}")]
        if _FULL.match(ref):
            return Target(ref, ref)
        listing = await self._git.check(
            "ls-remote", "--quiet", "origin", *patterns, cwd=self.path, doing=f"asking {self._git.remote.url}"
        )
        there = {name: sha for sha, _, name in (line.partition("\t") for line in listing.splitlines())}
        for full in wanted if ref else ["HEAD"]:
            if full in there:
                return Target(full, there.get(f"{full}^{{}}", there[full]))
        if _ABBREVIATED.match(ref):
            return Target(ref)
        raise DeploymentError(
            f"{self._git.remote.url} has no branch, tag or commit {ref!r}"
            if ref
            else f"{self._git.remote.url} has no default branch: it is empty, or its HEAD points nowhere",
            step="clone",
            retryable=False,
        )

    async def _fetch(self, source: str, options: list[str]) -> DeploymentError | None:
        """Fetch into the incoming ref. Returns what went wrong, if something did."""
        result = await self._git.run(
            "fetch", "--progress", "--no-tags", "--force", *options, "origin", f"+{source}:{_INCOMING}", cwd=self.path
        )
        if result.returncode == 0:
            return None
        return self._git.error(result, f"fetching {self._git.remote.url}")

    async def _from_everything(self, commit: str) -> str:
        """For remotes that hand out branches and tags only, and for abbreviated ids: fetch all, then look inside."""
        shallow = ["--unshallow"] if (self.path / "shallow").exists() else []
        await self._git.check(
            "fetch", "--progress", "--force", *shallow, "origin",
            "+refs/heads/*:refs/runqy/heads/*", "+refs/tags/*:refs/runqy/tags/*",
            cwd=self.path, doing=f"fetching {self._git.remote.url}",
        )  # fmt: skip
        found = await self._git.run("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=self.path)
        if found.returncode != 0:
            message = f"{self._git.remote.url} has no branch, tag or commit {commit!r}"
            raise DeploymentError(message, step="clone", retryable=False)
        return await self._keep(commit)

    async def _has(self, commit: str) -> bool:
        ref = f"{_COMMITS}/{commit}"
        return (await self._git.run("show-ref", "--verify", "--quiet", ref, cwd=self.path)).returncode == 0

    async def _keep(self, name: str) -> str:
        doing = "reading the mirror"
        commit = (await self._git.check("rev-parse", f"{name}^{{commit}}", cwd=self.path, doing=doing)).strip()
        await self._git.check("update-ref", f"{_COMMITS}/{commit}", commit, cwd=self.path, doing=doing)
        return commit


def remove_garbage(mirror: Path) -> None:
    """Remove what git leaves of interrupted or failed downloads, which otherwise keeps a full disk full. Blocking."""
    for pattern in ("objects/*/tmp_obj_*", "objects/pack/tmp_*", "objects/pack/.tmp-*", "*.lock"):
        for path in mirror.glob(pattern):
            path.unlink(missing_ok=True)
