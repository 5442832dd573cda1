"""A repository made from a working tree as it is now, so that what you see is what runs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from runqy_worker.development.watch import IGNORED
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

BRANCH = "main"
_GIT_LINK = "160000"
"""The mode of an entry that stands for another repository."""

_IDENTITY = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "runqy-worker dev"), ("EMAIL", "dev@localhost"))
}


class SourceSnapshot:
    """Commits a directory's files into a repository of our own; the directory and its own repository stay untouched.

    What `.gitignore` files exclude is left out, and caches and environments in any case. Uncommitted and untracked
    files are in.

    Args:
        source: The directory, whether or not it is a git repository.
        repository: Where our repository is; made if missing.
    """

    def __init__(self, source: Path, repository: Path) -> None:
        self._source = source.resolve()
        self._git_dir = repository / ".git"
        self._tree = ""
        self.url = str(repository.resolve())
        """What to clone."""
        self.left_out: tuple[str, ...] = ()
        """Folders that are repositories of their own, whose files the snapshot can't hold."""

    def take(self) -> bool:
        """Commit what is there now. Returns whether it differs from the snapshot before.

        Raises:
            DeploymentError: git is missing or fails, or there is no file to commit.
        """
        if not self._git_dir.exists():
            self._git_dir.parent.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", f"--initial-branch={BRANCH}")
            exclude = self._git_dir / "info" / "exclude"
            exclude.parent.mkdir(exist_ok=True)
            exclude.write_text("".join(f"{name}/\n" for name in sorted(IGNORED)) + "*.pyc\n")
        self._git("add", "--all", ".")
        self._leave_out_repositories()
        tree = self._git("write-tree")
        if tree == self._tree:
            return False
        if not self._git("ls-files"):
            raise _failed(f"{self._source} holds no file that .gitignore does not exclude")
        parent = self._git("for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}")
        commit = self._git("commit-tree", tree, *(("-p", parent) if parent else ()), "-m", "the working tree as it is")
        self._git("update-ref", f"refs/heads/{BRANCH}", commit)
        self._tree = tree
        return True

    def _leave_out_repositories(self) -> None:
        entries = self._git("ls-files", "--stage", "-z").split("\0")
        links = tuple(entry.partition("\t")[2] for entry in entries if entry.startswith(_GIT_LINK))
        if links:
            self._git("update-index", "--force-remove", "--", *links)
        self.left_out = links

    def _git(self, *args: str) -> str:
        """Run git on our repository with the source as its work tree, and without anybody's settings or hooks."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        settings = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_DIR": str(self._git_dir)}
        settings["GIT_WORK_TREE"] = str(self._source)
        quiet = ("-c", "advice.addEmbeddedRepo=false", "-c", "core.safecrlf=false", "-c", "gc.auto=0")
        try:
            done = subprocess.run(
                ["git", *quiet, *args],
                cwd=self._source,
                env={**environ, **_IDENTITY, **settings},
                capture_output=True,
                text=True,
                check=True,
            )
        except FileNotFoundError as error:
            raise _failed("git is not installed: apt-get install git") from error
        except subprocess.CalledProcessError as error:
            raise _failed(f"git {args[0]} failed: {error.stderr.strip()}") from error
        return done.stdout.strip()


def _failed(message: str) -> DeploymentError:
    return DeploymentError(message, step="snapshot", retryable=False)
