from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.deployments import registration
from support.git_site import GitHTTP, Remote, git, self_signed

from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.deployments import Deployments

TOKEN = "ghp_thisIsTheToken/with+odd"


@pytest.fixture
def http(tmp_path: Path) -> Iterator[GitHTTP]:
    with GitHTTP(tmp_path, token=TOKEN) as server:
        yield server


async def test_the_token_opens_the_repository_and_is_found_nowhere_afterwards(
    site: Deployments, remote: Remote, http: GitHTTP
) -> None:
    remote.commit({"main.py": "1", "app/main.py": "2"})
    release = await site.deploy(f"{http.url}/repo.git", git_token=TOKEN, code_path="app")
    assert site.files(release) == {"main.py", "app/main.py"}
    assert any(request.authorization for request in http.requests)
    assert site.holding(TOKEN) == []
    assert TOKEN not in site.said()
    assert TOKEN not in str(release)


async def test_the_token_is_in_no_command_line_or_environment_while_git_runs(
    site: Deployments, remote: Remote, http: GitHTTP
) -> None:
    remote.commit({f"file{number}.txt": "x" * 1000 for number in range(50)})
    seen: list[str] = []
    task = asyncio.create_task(site.deploy(f"{http.url}/repo.git", git_token=TOKEN))
    while not task.done():
        seen += await asyncio.to_thread(processes)
    await task
    assert any("remote-http" in line for line in seen), "the sample missed git's own transport"
    assert not any(TOKEN in line for line in seen)


def processes() -> list[str]:
    """Command lines and environments of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((path / name).read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found


async def test_credentials_in_the_address_are_used_and_taken_out(
    site: Deployments, remote: Remote, http: GitHTTP
) -> None:
    remote.commit({"main.py": "1"})
    quoted = TOKEN.replace("/", "%2F")
    url = http.url.replace("://", f"://someone:{quoted}@")
    release = await site.deploy(f"{url}/repo.git")
    assert release.record.url == f"{http.url}/repo.git"
    assert site.holding(TOKEN) == []
    assert site.holding(quoted) == []
    assert quoted not in site.said()


async def test_the_configured_token_wins_over_the_servers(site: Deployments, remote: Remote, http: GitHTTP) -> None:
    remote.commit({"main.py": "1"})
    site.git(token=TOKEN)
    release = await site.deploy(f"{http.url}/repo.git", git_token="the servers old one")
    assert (release.code / "main.py").exists()


async def test_a_rotated_token_is_used_at_the_next_deploy(site: Deployments, remote: Remote, http: GitHTTP) -> None:
    remote.commit({"main.py": "1"})
    deployer = site.deployer()
    await deployer.deploy(registration(f"{http.url}/repo.git", git_token=TOKEN))
    http.token = "ghp_rotated"
    commit = remote.commit({"main.py": "2"})
    with pytest.raises(DeploymentError, match="refused access"):
        await deployer.deploy(registration(f"{http.url}/repo.git", git_token=TOKEN))
    release = await deployer.deploy(registration(f"{http.url}/repo.git", git_token="ghp_rotated"))
    assert release.record.commit == commit


@pytest.mark.parametrize("token", ["", "wrong-token"])
async def test_a_refused_token_is_a_clear_error_without_the_token(
    site: Deployments, remote: Remote, http: GitHTTP, token: str
) -> None:
    remote.commit({"main.py": "1"})
    with pytest.raises(DeploymentError, match="localhost refused access") as caught:
        await site.deploy(f"{http.url}/repo.git", git_token=token)
    assert not caught.value.retryable
    assert "wrong-token" not in str(caught.value)


async def test_a_repository_that_is_not_there_is_named(site: Deployments, http: GitHTTP) -> None:
    with pytest.raises(DeploymentError, match="there is no repository http://localhost"):
        await site.deploy(f"{http.url}/none.git", git_token=TOKEN)


async def test_a_server_that_is_away_may_come_back(site: Deployments) -> None:
    with pytest.raises(DeploymentError, match="can't be reached") as caught:
        await site.deploy("http://127.0.0.1:9/repo.git")
    assert caught.value.retryable


async def test_a_token_without_encryption_is_warned_of(site: Deployments, remote: Remote, http: GitHTTP) -> None:
    remote.commit({"main.py": "1"})
    await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)
    warnings = [notice for notice in site.notices if notice.level is Level.WARNING]
    assert [notice.action for notice in warnings] == ["git_token_unencrypted"]


async def test_submodules_of_the_same_host_get_the_token_and_those_of_others_do_not(
    site: Deployments, remote: Remote, http: GitHTTP, tmp_path: Path
) -> None:
    friend = Remote(tmp_path, "friend")
    friend.commit({"friend.txt": "f"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stranger = Remote(elsewhere, "stranger")
    stranger.commit({"stranger.txt": "s"})
    remote.commit({"main.py": "1"})
    allow = ("-c", "protocol.file.allow=always")
    git(*allow, "submodule", "add", "--quiet", str(friend.path), "friend", cwd=remote.work)
    git("config", "-f", ".gitmodules", "submodule.friend.url", "../friend.git", cwd=remote.work)
    git("add", "--all", cwd=remote.work)
    remote.save()
    release = await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)
    assert (release.code / "friend/friend.txt").read_text() == "f"
    with GitHTTP(elsewhere, token="another token") as other:
        git(*allow, "submodule", "add", "--quiet", str(stranger.path), "stranger", cwd=remote.work)
        git("config", "-f", ".gitmodules", "submodule.stranger.url", f"{other.url}/stranger.git", cwd=remote.work)
        git("add", "--all", cwd=remote.work)
        remote.save()
        with pytest.raises(DeploymentError, match="submodules"):
            await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)
        assert other.requests
        assert not any(request.authorization for request in other.requests)


async def test_a_submodule_may_not_point_to_this_hosts_files(
    site: Deployments, remote: Remote, http: GitHTTP, tmp_path: Path
) -> None:
    secret = Remote(tmp_path, "secret")
    secret.commit({"secret.txt": "s"})
    remote.commit({"main.py": "1"})
    git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(secret.path), "secret", cwd=remote.work)
    remote.save()
    with pytest.raises(DeploymentError, match="forbidden transport"):
        await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)


async def test_file_contents_are_fetched_only_where_they_are_needed(
    site: Deployments, remote: Remote, http: GitHTTP
) -> None:
    remote.commit({"app/main.py": "1", "big/file.bin": "never wanted" * 100})
    await site.deploy(f"{http.url}/repo.git", git_token=TOKEN, code_path="app")
    mirror = next(path for path in (site.dir / "git").iterdir() if path.is_dir())
    blob = git("rev-parse", "HEAD:big/file.bin", cwd=remote.work)
    listed = git("cat-file", "--batch-all-objects", "--batch-check", cwd=mirror)
    assert blob not in listed
    assert git("rev-parse", "HEAD:app/main.py", cwd=remote.work) in listed


async def test_only_the_last_commit_is_fetched(site: Deployments, remote: Remote, http: GitHTTP) -> None:
    for number in range(5):
        remote.commit({"main.py": str(number)})
    release = await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)
    assert git("rev-list", "--count", "HEAD", cwd=release.checkout) == "1"
    first = git("rev-list", "--max-parents=0", "HEAD", cwd=remote.work)
    git("config", "uploadpack.allowAnySHA1InWant", "false", cwd=remote.path)
    older = await site.deploy(f"{http.url}/repo.git", git_token=TOKEN, branch=first[:12])
    assert (older.code / "main.py").read_text() == "0"


async def test_https_with_a_private_certificate(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    remote.commit({"main.py": "1"})
    context, certificate = self_signed(tmp_path)
    with GitHTTP(tmp_path, token=TOKEN, tls=context) as server:
        with pytest.raises(DeploymentError, match=r"certificate of localhost is not accepted.*git\.ca_file"):
            await site.deploy(f"{server.url}/repo.git", git_token=TOKEN)
        site.git(ca_file=str(certificate))
        release = await site.deploy(f"{server.url}/repo.git", git_token=TOKEN)
        assert (release.code / "main.py").exists()
    assert "git_token_unencrypted" not in site.actions()


async def test_progress_is_told_as_it_happens(site: Deployments, remote: Remote, http: GitHTTP) -> None:
    remote.commit({f"{number}.bin": str(number) * 1000 for number in range(300)})
    started = time.monotonic()
    await site.deploy(f"{http.url}/repo.git", git_token=TOKEN)
    lines = [notice.message for notice in site.notices if notice.action == "git_progress"]
    assert any(line.startswith("Receiving objects: 100%") for line in lines)
    assert len(lines) < 40 + 2 * (time.monotonic() - started)
