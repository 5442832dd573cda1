from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.deployments import Deployments, run_python
from support.git_site import Remote, git
from support.packages import project_files
from support.tools import needed

from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

MONOREPO: dict[str, str | bytes | None] = {
    "README.md": "about",
    "requirements.txt": "",
    "tasks/README": "about tasks",
    "tasks/resize/main.py": "print('resize')",
    "tasks/resize/data/x.txt": "x",
    "tasks/other/main.py": "print('other')",
    "big/file.bin": "b" * 1000,
}


async def test_the_whole_repository_is_checked_out_without_a_code_path(site: Deployments, remote: Remote) -> None:
    commit = remote.commit(MONOREPO)
    release = await site.deploy(remote.path)
    assert site.files(release) == set(MONOREPO)
    assert release.record.commit == commit
    assert release.name.startswith(commit[:12])
    assert release.code == release.checkout


async def test_with_a_code_path_only_it_and_what_lies_above_is_checked_out(site: Deployments, remote: Remote) -> None:
    remote.commit(MONOREPO)
    release = await site.deploy(remote.path, code_path="./tasks/resize/")
    assert site.files(release) == {
        "README.md",
        "requirements.txt",
        "tasks/README",
        "tasks/resize/main.py",
        "tasks/resize/data/x.txt",
    }
    assert release.code == release.checkout / "tasks/resize"


@pytest.mark.parametrize(
    "reaching",
    [
        {"tasks/resize/main.py": "import sys; sys.path.append('../../big')"},
        {"tasks/resize/main.py": "from pathlib import Path; ROOT = Path(__file__).parents[2]"},
        {"tasks/resize/settings.toml": 'models = "../other"'},
        {"requirements.txt": None, "pyproject.toml": "[tool.ruff]\n"},  # might have to be built
    ],
)
async def test_code_that_reaches_outside_its_path_gets_the_whole_repository(
    site: Deployments, remote: Remote, reaching: dict[str, str | bytes | None]
) -> None:
    remote.commit(MONOREPO)
    remote.commit(reaching)
    release = await site.deploy(remote.path, code_path="tasks/resize")
    assert "git_full_checkout" in site.actions()
    assert "big/file.bin" in site.files(release)


async def test_a_dependency_beside_the_code_path_is_there_to_be_installed(site: Deployments, remote: Remote) -> None:
    library = {f"libs/lib/{name}": content for name, content in project_files("lib").items()}
    remote.commit(MONOREPO | library | {"tasks/resize/requirements.txt": "-e ../../libs/lib\n"})
    site.environ |= {"UV_OFFLINE": "1"}
    with pytest.raises(DeploymentError, match="editable"):  # what this build backend can't do
        await site.deploy(remote.path, code_path="tasks/resize")
    remote.commit({"tasks/resize/requirements.txt": "", "requirements.txt": "./libs/lib\n"})
    remote.commit({"tasks/resize/requirements.txt": None})
    release = await site.deploy(remote.path, code_path="tasks/resize")
    assert run_python(release, "import lib; print(lib.VERSION)") == "1.0"


async def test_a_link_out_of_the_code_path_gets_the_whole_repository(site: Deployments, remote: Remote) -> None:
    remote.commit(MONOREPO)
    (remote.work / "tasks/resize/shared").symlink_to("../other")
    git("add", "--all", cwd=remote.work)
    remote.save()
    release = await site.deploy(remote.path, code_path="tasks/resize")
    assert (release.code / "shared/main.py").read_text() == "print('other')"


@pytest.mark.parametrize("missing", ["tasks/none", "none", "README.md"])
async def test_a_code_path_that_is_not_there_is_named(site: Deployments, remote: Remote, missing: str) -> None:
    remote.commit(MONOREPO)
    with pytest.raises(DeploymentError, match=f"the code path '{missing}' is no folder") as caught:
        await site.deploy(remote.path, code_path=missing)
    assert not caught.value.retryable
    assert site.left_over() == []


async def test_a_code_path_that_is_a_link_out_of_the_repository_is_refused(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": ""})
    (remote.work / "code").symlink_to("/etc")
    git("add", "--all", cwd=remote.work)
    remote.save()
    with pytest.raises(DeploymentError, match="the code path 'code' is"):
        await site.deploy(remote.path, code_path="code")


async def test_branches_tags_and_commits_can_be_named(site: Deployments, remote: Remote) -> None:
    first = remote.commit({"main.py": "1"})
    remote.tag("v1")
    second = remote.commit({"main.py": "2"})
    remote.tag("v2", annotated=True)
    third = remote.commit({"main.py": "3"})
    other = remote.commit({"main.py": "4"}, branch="feature/x")
    wanted = {
        "main": third,
        "": third,
        "HEAD": third,
        "feature/x": other,
        "v1": first,
        "v2": second,
        "refs/tags/v2": second,
        second: second,
        first[:10]: first,
    }
    for ref, commit in wanted.items():
        release = await site.deploy(remote.path, branch=ref)
        assert release.record.commit == commit, ref


async def test_the_default_branch_is_the_remotes(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    commit = remote.commit({"main.py": "2"}, branch="trunk")
    git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=remote.path)
    assert (await site.deploy(remote.path, branch="")).record.commit == commit


@pytest.mark.parametrize("ref", ["nope", "0123456789abcdef", "f" * 40])
async def test_a_ref_that_is_not_there_is_named(site: Deployments, remote: Remote, ref: str) -> None:
    remote.commit({"main.py": "1"})
    with pytest.raises(DeploymentError, match=f"has no branch, tag or commit '{ref}'") as caught:
        await site.deploy(remote.path, branch=ref)
    assert caught.value.step == "clone"
    assert not caught.value.retryable


async def test_an_empty_repository_and_none_at_all_are_told_apart(site: Deployments, remote: Remote) -> None:
    with pytest.raises(DeploymentError, match="has no default branch"):
        await site.deploy(remote.path, branch="")
    with pytest.raises(DeploymentError, match="there is no repository"):
        await site.deploy(remote.path.with_name("none.git"))


async def test_a_moved_branch_a_changed_branch_and_a_changed_address_are_noticed(
    site: Deployments, remote: Remote, tmp_path: Path
) -> None:
    remote.commit({"main.py": "1"})
    first = await site.deploy(remote.path)
    moved = remote.commit({"main.py": "2"})
    assert (await site.deploy(remote.path)).record.commit == moved
    branched = remote.commit({"main.py": "3"}, branch="dev")
    assert (await site.deploy(remote.path, branch="dev")).record.commit == branched
    elsewhere = Remote(tmp_path, "elsewhere")
    commit = elsewhere.commit({"main.py": "4"})
    assert (await site.deploy(elsewhere.path)).record.commit == commit
    assert (first.code / "main.py").read_text() == "1", "an earlier release stays as it was"


async def test_a_branch_that_was_rewritten_is_followed(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    await site.deploy(remote.path)
    git("checkout", "--quiet", "--orphan", "fresh", cwd=remote.work)
    git("branch", "-D", "main", cwd=remote.work)
    git("checkout", "--quiet", "-b", "main", cwd=remote.work)
    commit = remote.commit({"main.py": "rewritten"})
    release = await site.deploy(remote.path)
    assert release.record.commit == commit
    assert (release.code / "main.py").read_text() == "rewritten"


async def test_a_commit_that_is_here_is_not_fetched_again(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    await site.deploy(remote.path)
    remote.commit({"main.py": "1"}, branch="same-but-other")
    git("branch", "-f", "copy", "main", cwd=remote.work)
    git("push", "--quiet", "origin", "copy", cwd=remote.work)
    site.notices.clear()
    await site.deploy(remote.path, branch="copy")
    assert "Receiving objects" not in site.said()
    assert "Unpacking objects" not in site.said()


async def test_submodules_come_along_also_inside_one_another(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    inner, library = Remote(tmp_path, "inner"), Remote(tmp_path, "library")
    inner.commit({"inner.txt": "inner"})
    library.commit({"lib.py": "L = 1"})
    allow = ("-c", "protocol.file.allow=always")
    git(*allow, "submodule", "add", "--quiet", str(inner.path), "deep", cwd=library.work)
    library.save()
    remote.commit({"main.py": "1", "app/main.py": "2"})
    git(*allow, "submodule", "add", "--quiet", "../library.git", "vendored/library", cwd=remote.work)
    remote.save()
    release = await site.deploy(remote.path)
    assert (release.code / "vendored/library/lib.py").read_text() == "L = 1"
    assert (release.code / "vendored/library/deep/inner.txt").read_text() == "inner"
    inside = await site.deploy(remote.path, code_path="vendored/library")
    assert (inside.code / "lib.py").read_text() == "L = 1"
    beside = await site.deploy(remote.path, code_path="app")
    assert not (beside.checkout / "vendored/library/lib.py").exists()


async def test_large_files_are_fetched(site: Deployments, remote: Remote) -> None:
    needed("git-lfs", "apt-get install git-lfs")
    git("lfs", "install", "--local", cwd=remote.work)
    remote.commit({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "app/model.bin": b"\0weights" * 99})
    assert b"git-lfs" in git("cat-file", "-p", "HEAD:app/model.bin", cwd=remote.work).encode()
    release = await site.deploy(f"file://{remote.path}", code_path="app")
    assert (release.code / "model.bin").read_bytes() == b"\0weights" * 99


async def test_large_files_without_git_lfs_are_refused(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    remote.commit({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "ssh", "sh", "uv"):
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    site.environ["PATH"] = str(programs)
    with pytest.raises(DeploymentError, match="git-lfs is not installed") as caught:
        await site.deploy(remote.path)
    assert not caught.value.retryable
    assert site.left_over() == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_repository_of_another_user_can_be_deployed(site: Deployments, remote: Remote) -> None:
    commit = remote.commit({"main.py": "1"})
    for path in (remote.path, *remote.path.rglob("*")):
        os.chown(path, 65534, 65534)
    assert (await site.deploy(remote.path)).record.commit == commit
    assert (await site.deploy(f"file://{remote.path}")).record.commit == commit


async def test_settings_of_the_host_and_hooks_do_not_interfere(
    site: Deployments, remote: Remote, tmp_path: Path
) -> None:
    remote.commit({"main.py": "1"})
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    (hooks / "post-checkout").chmod(0o755)
    home = site.directory / "home"
    (home / ".gitconfig").write_text(f'[core]\n\thooksPath = {hooks}\n[url "/nowhere"]\n\tinsteadOf = {remote.path}\n')
    site.environ |= {"GIT_DIR": "/nowhere", "GIT_TRACE": "1", "GIT_ASKPASS": "/bin/false"}
    await site.deploy(remote.path)
    assert not (tmp_path / "hook-ran").exists()


async def test_a_transport_that_runs_commands_is_refused(site: Deployments, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="may run any command"):
        await site.deploy(f"ext::sh -c touch% {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


async def test_git_that_hangs_is_ended(site: Deployments, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexec sleep 600\n")
    (programs / "git").chmod(0o755)
    site.environ["PATH"] = f"{programs}:{site.environ['PATH']}"
    site.git(timeout=0.5)
    with pytest.raises(DeploymentError, match=r"took longer than 0\.5 s"):
        await site.deploy("/srv/repo")
