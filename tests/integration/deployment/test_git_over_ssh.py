from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.git_site import Remote, git

from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from support.deployments import Deployments
    from support.git_site import GitSSH


@pytest.fixture
def url(ssh: GitSSH, remote: Remote, site: Deployments) -> str:
    remote.commit({"main.py": "1"})
    site.git(ssh_key=str(ssh.key), known_hosts=str(ssh.known_hosts))
    return ssh.url(remote.path)


async def test_the_key_opens_the_repository(site: Deployments, url: str) -> None:
    release = await site.deploy(url)
    assert (release.code / "main.py").read_text() == "1"


async def test_an_unknown_host_is_refused_with_its_name_and_the_file(site: Deployments, url: str, ssh: GitSSH) -> None:
    empty = ssh.directory / "empty"
    empty.touch()
    site.git(known_hosts=str(empty))
    with pytest.raises(DeploymentError, match=f"host key of 127.0.0.1 is not in known_hosts .{empty}") as caught:
        await site.deploy(url)
    assert not caught.value.retryable
    assert empty.read_text() == ""


async def test_a_host_whose_key_changed_is_refused_even_without_strict_checking(
    site: Deployments, url: str, ssh: GitSSH
) -> None:
    changed = ssh.directory / "changed"
    changed.write_text(f"[127.0.0.1]:{ssh.port} {ssh.other_key.with_suffix('.pub').read_text()}")
    site.git(known_hosts=str(changed), strict_host_key_checking=False)
    with pytest.raises(DeploymentError, match="differs from the one in known_hosts"):
        await site.deploy(url)


async def test_without_strict_checking_a_new_host_is_remembered(site: Deployments, url: str, ssh: GitSSH) -> None:
    site.git(known_hosts="", strict_host_key_checking=False)
    await site.deploy(url)
    host_key = ssh.known_hosts.read_text().split()[2]
    assert host_key in (site.dir / "git" / "known_hosts").read_text()


async def test_a_refused_key_is_named(site: Deployments, url: str, ssh: GitSSH) -> None:
    site.git(ssh_key=str(ssh.other_key))
    with pytest.raises(DeploymentError, match=f"127.0.0.1 refused the ssh key .{ssh.other_key}") as caught:
        await site.deploy(url)
    assert not caught.value.retryable


async def test_a_key_that_others_can_read_or_that_is_none_is_named(site: Deployments, url: str, ssh: GitSSH) -> None:
    ssh.key.chmod(0o644)
    with pytest.raises(DeploymentError, match="can be read by others"):
        await site.deploy(url)
    broken = ssh.directory / "broken"
    broken.write_text("no key\n")
    broken.chmod(0o600)
    site.git(ssh_key=str(broken))
    with pytest.raises(DeploymentError, match="can't be used"):
        await site.deploy(url)


async def test_a_repository_that_is_not_there_is_named(site: Deployments, url: str) -> None:
    with pytest.raises(DeploymentError, match="there is no repository"):
        await site.deploy(url.replace("repo.git", "none.git"))


async def test_submodules_use_the_same_key(site: Deployments, url: str, remote: Remote) -> None:
    library = Remote(remote.path.parent, "library")
    library.commit({"lib.py": "L"})
    git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", "../library.git", cwd=remote.work)
    remote.save()
    release = await site.deploy(url)
    assert (release.code / "library/lib.py").read_text() == "L"
