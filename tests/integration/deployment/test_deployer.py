from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
from support.deployments import Deployments, registration, run_python
from support.packages import make_wheel, project_files

from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.git_site import Remote

    from runqy_worker.deployment.deployer import Deployer
    from runqy_worker.deployment.releases import ReleaseDir


async def confirmed(deployer: Deployer, remote: Remote, content: str) -> ReleaseDir:
    """A new commit, deployed and found ready."""
    remote.commit({"main.py": content})
    return deployer.confirm(await deployer.deploy(registration(remote.path)))


def names(site: Deployments) -> set[str]:
    """The releases on the disk."""
    return {path.name for path in site.dir.glob("releases/inference/*") if path.is_dir() and not path.is_symlink()}


async def test_a_release_can_be_started(site: Deployments, remote: Remote) -> None:
    remote.commit({"src/main.py": "import os, sys; print(os.getcwd(), sys.prefix, os.environ['KEY'])"})
    deployer = site.deployer()
    wanted = registration(remote.path, code_path="src", vaults={"KEY": "value"})
    release = await deployer.deploy(wanted)
    launch = deployer.launch(release, wanted)
    done = subprocess.run(launch.argv, cwd=launch.cwd, env=launch.env, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - ends at once
    assert done.stdout.split() == [str(release.code), str(release.environment), "value"]


async def test_an_unchanged_commit_is_the_same_release(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    first = await site.deploy(remote.path)
    second = await site.deploy(remote.path)
    assert second == first
    assert "deploy_unchanged" in site.actions()


@pytest.mark.parametrize("change", [{"startup_cmd": "python -u main.py"}, {"code_path": "app"}, {"branch": "dev"}])
async def test_a_changed_option_is_another_release_of_the_same_commit(
    site: Deployments, remote: Remote, change: dict[str, str]
) -> None:
    commit = remote.commit({"main.py": "1", "app/main.py": "2"})
    remote.commit({}, branch="dev")
    first = await site.deploy(remote.path)
    second = await site.deploy(remote.path, **change)
    assert second.name != first.name
    assert first.record.commit == commit


async def test_a_wrong_command_is_told_before_anything_is_downloaded(site: Deployments, remote: Remote) -> None:
    with pytest.raises(DeploymentError, match="can't be split into words"):
        await site.deploy(remote.path, startup_cmd="python 'main.py")
    assert site.actions() == []


async def test_a_failed_update_leaves_the_last_good_release_to_fall_back_to(site: Deployments, remote: Remote) -> None:
    deployer = site.deployer()
    good = await confirmed(deployer, remote, "1")
    remote.commit({"main.py": "2", "requirements.txt": "!!\n"})
    again = site.deployer()
    found = await again.deploy_or_fall_back(registration(remote.path))
    assert found.name == good.name
    assert (found.code / "main.py").read_text() == "1"
    loud = [notice for notice in site.notices if notice.level is Level.ERROR]
    assert [notice.action for notice in loud] == ["deploy_fell_back"]
    assert "requirement line" in loud[0].message


async def test_a_failed_update_without_a_good_release_is_an_error(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    deployer = site.deployer()
    await deployer.deploy(registration(remote.path))  # never found ready
    remote.commit({"requirements.txt": "!!\n"})
    assert deployer.last_good() is None
    with pytest.raises(DeploymentError):
        await deployer.deploy_or_fall_back(registration(remote.path))


async def test_a_repository_that_is_away_does_not_keep_the_last_good_release_from_running(
    site: Deployments, remote: Remote
) -> None:
    good = await confirmed(site.deployer(), remote, "1")
    remote.path.rename(remote.path.with_name("moved.git"))
    found = await site.deployer().deploy_or_fall_back(registration(remote.path))
    assert found.name == good.name


async def test_rolling_back_goes_to_the_good_release_before(site: Deployments, remote: Remote) -> None:
    deployer = site.deployer()
    first = await confirmed(deployer, remote, "1")
    second = await confirmed(deployer, remote, "2")
    back = deployer.rollback()
    assert back.name == first.name
    deployer.confirm(back)
    assert deployer.current() == deployer.last_good()
    current = deployer.current()
    assert current is not None
    assert current.name == first.name
    site.notices.clear()
    again = await deployer.deploy(registration(remote.path))
    assert again.name == first.name, "the branch has not moved since, so the bad release stays away"
    assert "deploy_rolled_back_before" in site.actions()
    forced = await deployer.deploy(registration(remote.path), force=True)
    assert forced.name == second.name
    third = await confirmed(deployer, remote, "3")
    assert deployer.current() == third


async def test_there_is_nothing_to_roll_back_to_at_first(site: Deployments, remote: Remote) -> None:
    deployer = site.deployer()
    with pytest.raises(DeploymentError, match="no earlier good release"):
        deployer.rollback()
    only = await confirmed(deployer, remote, "1")
    with pytest.raises(DeploymentError, match="no earlier good release"):
        deployer.rollback()
    assert deployer.last_good() == only


async def test_old_releases_their_environments_and_mirrors_are_removed(
    site: Deployments, remote: Remote, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "thing", "1.0")
    site.environ |= {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path / "wheels")}
    site.deployment(keep_releases=1)
    deployer = site.deployer()
    remote.commit({"requirements.txt": "thing==1.0\n"})
    first = await confirmed(deployer, remote, "1")
    remote.commit({"requirements.txt": ""})
    releases = [await confirmed(deployer, remote, str(number)) for number in range(2, 6)]
    await deployer.prune()
    assert names(site) == {release.name for release in releases[-2:]}
    assert not first.environment.exists()
    assert releases[-1].environment.exists()
    assert len([path for path in (site.dir / "environments").iterdir() if path.is_dir()]) == 1
    other = registration(tmp_path / "gone.git")
    with pytest.raises(DeploymentError):
        await deployer.deploy(other)
    await deployer.prune()
    assert len([path for path in (site.dir / "git").iterdir() if path.is_dir()]) == 1
    assert run_python(releases[-1], "print('runs')") == "runs"


async def test_pruning_never_removes_what_another_worker_runs(site: Deployments, remote: Remote) -> None:
    site.deployment(keep_releases=0)
    one, other = site.deployer(), site.deployer()
    first = await confirmed(one, remote, "1")
    for number in range(2, 5):
        await confirmed(other, remote, str(number))
    await other.prune()
    assert first.name in names(site)
    assert first.environment.exists()
    one.close()
    await other.prune()
    assert first.name not in names(site)


async def test_two_workers_that_deploy_at_once_make_each_thing_once(
    site: Deployments, remote: Remote, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "thing", "1.0")
    site.environ |= {"UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_FIND_LINKS": str(tmp_path / "wheels")}
    remote.commit({"main.py": "1", "requirements.txt": "thing==1.0\n"})
    parents = ("inference", "inference", "other")
    deployers = [site.deployer(parent) for parent in parents]
    releases = await asyncio.gather(*(deployer.deploy(registration(remote.path)) for deployer in deployers))
    assert releases[0] == releases[1]
    assert releases[2].path != releases[0].path
    assert len({release.environment for release in releases}) == 1
    assert site.actions().count("environment_building") == 1
    assert all(run_python(release, "import thing; print(thing.VERSION)") == "1.0" for release in releases)


HANGING = """
import os, pathlib, time
pathlib.Path({mark!r}).write_text(str(os.getpid()))
time.sleep(600)
"""
DAEMON = """
import asyncio, sys
sys.path[:0] = {path!r}
from pathlib import Path
from support.deployments import Deployments, registration
site = Deployments(Path({directory!r}))
site.environ["UV_OFFLINE"] = "1"
asyncio.run(site.deploy({url!r}))
"""


async def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_killed_deploy_leaves_nothing_that_the_next_one_does_not_clear_up(
    remote: Remote, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    files = project_files("app")
    backend = str(files["own_backend.py"])
    remote.commit({**files, "own_backend.py": HANGING.format(mark=str(mark)) + backend})
    directory = tmp_path / "killed"
    code = textwrap.dedent(DAEMON).format(path=sys.path, directory=str(directory), url=str(remote.path))
    with subprocess.Popen([sys.executable, "-c", code]) as daemon:  # noqa: ASYNC220 - waited for below
        await until(mark.exists)
        os.kill(daemon.pid, signal.SIGKILL)
    dead = directory / "deployment"
    assert [path for path in dead.glob("environments/*") if path.is_dir()], "it was in the middle"
    remote.commit(files)
    site = Deployments(tmp_path / "next")
    site.dir.symlink_to(dead)
    site.environ["UV_OFFLINE"] = "1"
    release = await site.deploy(remote.path)
    assert "deploy_swept" in site.actions()
    assert run_python(release, "import sys; sys.path.remove(''); import app; print(app.VERSION)") == "1.0"
    os.kill(int(mark.read_text()), signal.SIGKILL)  # what the installer had started
    await site.deployer().prune()
    assert site.left_over() == []
    assert len(names(site)) == 1
    assert len([path for path in dead.glob("environments/*") if path.is_dir()]) == 1


async def test_a_cancelled_deploy_leaves_nothing(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    files = project_files("app")
    files["own_backend.py"] = HANGING.format(mark=str(mark)) + str(files["own_backend.py"])
    remote.commit(files)
    task = asyncio.create_task(site.deploy(remote.path))
    await until(mark.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert site.left_over() == []
    assert names(site) == set()


async def test_a_deploy_that_takes_too_long_is_ended(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    files = project_files("app")
    files["own_backend.py"] = HANGING.format(mark=str(tmp_path / "mark")) + str(files["own_backend.py"])
    remote.commit(files)
    site.deployment(timeout=3)
    with pytest.raises(DeploymentError, match="took longer than 3 s") as caught:
        await site.deploy(remote.path)
    assert caught.value.retryable
    assert site.left_over() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small file system")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_full_disk_is_named_and_the_old_release_serves_on(
    site: Deployments, remote: Remote, small_disk: Path
) -> None:
    site.deployment(dir=str(small_disk / "deployment"))
    site.environ["UV_CACHE_DIR"] = str(site.directory / "uv-cache")
    deployer = site.deployer()
    good = await confirmed(deployer, remote, "1")
    remote.commit({"big.bin": os.urandom(8 * 1024 * 1024)})
    with pytest.raises(DeploymentError, match="the disk is full") as caught:
        await deployer.deploy(registration(remote.path))
    assert caught.value.retryable
    fallback = await deployer.deploy_or_fall_back(registration(remote.path))
    assert fallback.name == good.name
    assert run_python(fallback, "print('runs')") == "runs"
    remote.commit({"big.bin": "small again"})
    git_garbage = list((small_disk / "deployment" / "git").glob("*/objects/pack/tmp_pack_*"))
    assert git_garbage == []
    await confirmed(deployer, remote, "2")


async def test_a_disk_that_fills_up_while_the_release_is_recorded(
    site: Deployments, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer = site.deployer()
    good = await confirmed(deployer, remote, "1")
    remote.commit({"main.py": "2"})
    unproven = await deployer.deploy(registration(remote.path))
    remote.commit({"main.py": "3"})
    with monkeypatch.context() as full:

        def no_space(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        full.setattr("runqy_worker.deployment.releases.write_record", no_space)
        with pytest.raises(DeploymentError, match="the disk is full"):
            await deployer.deploy(registration(remote.path))
        with pytest.raises(DeploymentError, match="the disk is full"):
            deployer.confirm(unproven)
        assert deployer.confirm(good) == good  # it is the current one already
    assert site.left_over() == []
    assert deployer.last_good() == good


async def test_a_deploy_shows_signs_of_life(site: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1"})
    deployer = site.deployer()
    deployer.activity.last = 0
    await deployer.deploy(registration(remote.path))
    assert deployer.activity.last > 0
