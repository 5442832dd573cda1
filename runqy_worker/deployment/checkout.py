"""A commit of the mirror turned into files: the code path, submodules and large files included.

The checkout is a small repository of its own that borrows the mirror's objects, so that submodules, Git LFS and
tools that ask git for a version work as in any clone. It holds no credentials.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from runqy_worker.deployment.sparse import reaches_outside
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Notice

if TYPE_CHECKING:
    from runqy_worker.deployment.git_commands import Git

_SUBMODULE = re.compile(r"160000 [0-9a-f]+ \d\t(?P<path>.+)")
_LFS_FILTER = ("filter.lfs.process=", "filter.lfs.smudge=", "filter.lfs.required=false")


class Checkout:
    """Checks one commit out.

    Args:
        git: Runs commands for the remote.
        mirror: The bare repository that has the commit.
        destination: Where the files go; must not exist yet.
    """

    def __init__(self, git: Git, mirror: Path, destination: Path) -> None:
        self._git = git
        self._mirror = mirror
        self._destination = destination

    async def materialise(self, commit: str, code_path: str) -> Path:
        """Write the commit's files.

        Args:
            commit: A commit that the mirror has.
            code_path: Folder of the task code; with one, only it and the files of the folders above it are
                written, unless the code visibly reaches further.

        Returns:
            The folder of the task code.

        Raises:
            DeploymentError: Git failed, the folder is not in the commit, or large files can't be had.
        """
        inside = clean_code_path(code_path)
        await self._borrow()
        if inside:
            await self._must_have(commit, inside)
            await self._command("sparse-checkout", "set", "--cone", inside)
        await self._check_out(commit)
        sparse = bool(inside)
        if sparse and await asyncio.to_thread(reaches_outside, self._destination, inside):
            self._tell("git_full_checkout", f"{inside} reaches outside itself: checking the whole repository out")
            await self._command("sparse-checkout", "disable")
            sparse = False
        await self._submodules(inside if sparse else "")
        await self._large_files(inside if sparse else "")
        return await asyncio.to_thread(self._code_folder, inside)

    async def _borrow(self) -> None:
        await self._git.check(
            "-c", "init.defaultBranch=main", "init", "--quiet", "--template=", str(self._destination),
            cwd=self._mirror, doing="preparing the checkout",
        )  # fmt: skip
        await asyncio.to_thread(self._share_objects)
        await self._command("config", "remote.origin.url", self._git.remote.url)
        await self._command("config", "lfs.storage", str(self._mirror / "lfs"))
        partial = await self._git.run("config", "--get", "remote.origin.promisor", cwd=self._mirror)
        if partial.returncode == 0:
            await self._command("config", "core.repositoryFormatVersion", "1")
            await self._command("config", "extensions.partialClone", "origin")
            await self._command("config", "remote.origin.promisor", "true")
            await self._command("config", "remote.origin.partialCloneFilter", "blob:none")

    def _share_objects(self) -> None:
        own = self._destination / ".git"
        info = own / "objects" / "info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "alternates").write_text(f"{(self._mirror / 'objects').absolute()}\n")
        shallow = self._mirror / "shallow"
        if shallow.exists():
            shutil.copyfile(shallow, own / "shallow")

    async def _check_out(self, commit: str) -> None:
        # Contents that a partial mirror lacks are fetched now; written to the mirror, the next release has them.
        objects = {"GIT_OBJECT_DIRECTORY": str((self._mirror / "objects").absolute())}
        filters = [word for setting in _LFS_FILTER for word in ("-c", setting)]
        await self._git.check(
            *filters, "checkout", "--progress", "--detach", commit,
            cwd=self._destination, doing=f"checking out {commit[:12]}", env=objects,
        )  # fmt: skip

    async def _must_have(self, commit: str, code_path: str) -> None:
        listing = await self._command("ls-tree", "-d", "--name-only", commit)
        first = PurePosixPath(code_path).parts[0]
        if first in listing.splitlines():
            kind = await self._git.run("cat-file", "-t", f"{commit}:{code_path}", cwd=self._destination)
            if kind.returncode != 0 or kind.stdout.strip() != "blob":
                return  # a folder, or inside a submodule: seen after the checkout
        folders = ", ".join(listing.splitlines()[:20]) or "none"
        raise DeploymentError(
            f"the code path {code_path!r} is no folder in commit {commit[:12]} (folders there: {folders})",
            step="clone",
            retryable=False,
        )

    async def _submodules(self, code_path: str) -> None:
        if not (self._destination / ".gitmodules").exists():
            return
        listing = await self._command("ls-files", "--stage")
        paths = [match["path"] for match in map(_SUBMODULE.match, listing.splitlines()) if match]
        wanted = [path for path in paths if not code_path or _related(path, code_path)]
        if not wanted:
            return
        self._tell("git_submodules", f"fetching {len(wanted)} submodules")
        await self._git.check(
            "submodule", "update", "--init", "--recursive", "--progress", "--depth=1", "--", *wanted,
            cwd=self._destination, doing=f"fetching the submodules of {self._git.remote.url}",
        )  # fmt: skip

    async def _large_files(self, code_path: str) -> None:
        if not await asyncio.to_thread(uses_lfs, self._destination):
            return
        if shutil.which("git-lfs", path=self._git.access.environment().get("PATH", os.defpath)) is None:
            raise DeploymentError(
                "the repository keeps large files in Git LFS, and git-lfs is not installed: "
                "apt install git-lfs (the files would be mere pointers without it)",
                step="clone",
                retryable=False,
            )
        self._tell("git_large_files", "fetching large files")
        await self._command("lfs", "install", "--local", "--skip-repo")
        included = ["--include", f"{code_path}/**,/*"] if code_path else []
        await self._git.check(
            "lfs", "pull", *included, cwd=self._destination, doing=f"fetching the large files of {self._git.remote.url}"
        )

    def _code_folder(self, code_path: str) -> Path:
        folder = self._destination / code_path
        if not folder.is_dir():
            message = f"the code path {code_path!r} is no folder in the repository"
            raise DeploymentError(message, step="clone", retryable=False)
        if not folder.resolve().is_relative_to(self._destination.resolve()):
            message = f"the code path {code_path!r} is a link that leads out of the repository"
            raise DeploymentError(message, step="clone", retryable=False)
        return folder

    async def _command(self, *args: str) -> str:
        return await self._git.check(*args, cwd=self._destination, doing="preparing the checkout")

    def _tell(self, action: str, message: str) -> None:
        self._git.listener.notice(Notice(action, message))


def clean_code_path(code_path: str) -> str:
    """The path in its plain form; empty for the repository's root.

    Raises:
        DeploymentError: It is absolute, or leads out of the repository.
    """
    path = PurePosixPath(code_path.strip())
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == (".git",):
        message = f"deployment.code_path is {code_path!r}, expected a folder inside the repository"
        raise DeploymentError(message, step="clone", retryable=False)
    return "" if path == PurePosixPath() else str(path)


def uses_lfs(folder: Path) -> bool:
    """Whether a checked-out .gitattributes names the LFS filter."""
    return any(
        "filter=lfs" in file.read_text(errors="replace")
        for file in folder.rglob(".gitattributes")
        if file.is_file() and ".git" not in file.relative_to(folder).parts[:-1]
    )


def _related(submodule: str, code_path: str) -> bool:
    one, other = PurePosixPath(submodule), PurePosixPath(code_path)
    return one.is_relative_to(other) or other.is_relative_to(one)
