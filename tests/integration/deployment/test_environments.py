from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.deployments import Deployments, registration, run_python
from support.packages import make_sdist, make_wheel, project_files

from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.git_site import Remote

INSTALLERS = ("uv", "venv")
VERSION = "import sys, thing; print(thing.VERSION)"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    make_wheel(directory, "thing", "1.0", requires=("part>=1",))
    make_wheel(directory, "thing", "2.0", requires=("part>=1",))
    make_wheel(directory, "part", "1.5")
    make_sdist(directory, "broken", "1.0", broken=True)
    return directory


@pytest.fixture
def offline(site: Deployments, wheels: Path) -> Deployments:
    """Installers find the wheels and nothing else."""
    site.environ |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
        "UV_OFFLINE": "1",
    }
    return site


def packages_of(python: Path) -> list[str]:
    code = "import importlib.metadata as m; print(*sorted(d.metadata['Name'] for d in m.distributions()), sep='\\n')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_requirements_are_installed_with_what_they_need(
    offline: Deployments, remote: Remote, installer: str
) -> None:
    offline.deployment(installer=installer)
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await offline.deploy(remote.path)
    assert run_python(release, "import part, thing; print(thing.VERSION, part.VERSION)") == "1.0 1.5"
    lines = [notice.message for notice in offline.notices if notice.action == "install_output"]
    assert any("thing" in line for line in lines), "the output is passed on"


async def test_an_unchanged_need_reuses_the_environment_at_once(offline: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "1", "requirements.txt": "thing==1.0\n"})
    first = await offline.deploy(remote.path)
    remote.commit({"main.py": "2"})
    offline.notices.clear()
    second = await offline.deploy(remote.path)
    assert second.name != first.name
    assert second.environment == first.environment
    assert "environment_building" not in offline.actions()
    assert "install_output" not in offline.actions()


async def test_a_changed_file_or_interpreter_or_option_makes_another_environment(
    offline: Deployments, remote: Remote
) -> None:
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    seen = {(await offline.deploy(remote.path)).environment}
    remote.commit({"requirements.txt": "thing==2.0\n"})
    second = await offline.deploy(remote.path)
    seen.add(second.environment)
    assert run_python(second, VERSION) == "2.0"
    offline.deployment(installer="venv")
    seen.add((await offline.deploy(remote.path)).environment)
    offline.deployment(use_system_site_packages=True)
    seen.add((await offline.deploy(remote.path)).environment)
    assert len(seen) == 4


async def test_an_environment_that_was_removed_is_made_again(offline: Deployments, remote: Remote) -> None:
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    first = await offline.deploy(remote.path)
    shutil.rmtree(first.environment)
    second = await offline.deploy(remote.path)
    assert second.name == first.name
    assert run_python(second, VERSION) == "1.0"


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base interpreter of its own, with a package that no index offers in that version."""
    directory = tmp_path_factory.mktemp("furnished")
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(sys.base_prefix) / "lib" / name
    site = directory / "lib" / name / "site-packages"
    site.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name != "site-packages":
            (site.parent / entry.name).symlink_to(entry)
    python = directory / "bin" / name
    python.parent.mkdir()
    shutil.copy(Path(sys.base_prefix) / "bin" / name, python)
    code = "import site, sys; print(sys.base_prefix); print(site.getsitepackages()[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    prefix, packages = done.stdout.splitlines()
    assert prefix == str(directory), "the copied interpreter still uses the original's packages"
    wheel = make_wheel(directory, "part", "9.9+host")
    shutil.unpack_archive(wheel, packages, "zip")  # Debian's interpreters name the folder otherwise
    return python


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_packages_of_the_host_are_used_and_not_installed_again(
    offline: Deployments, remote: Remote, furnished: Path, installer: str
) -> None:
    offline.deployment(installer=installer, python=str(furnished), use_system_site_packages=True)
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await offline.deploy(remote.path)
    assert run_python(release, "import part, thing; print(part.VERSION, thing.VERSION)") == "9.9+host 1.0"
    assert list(release.environment.glob("lib/*/site-packages/thing"))
    assert not list(release.environment.glob("lib/*/site-packages/part"))


async def test_a_version_that_the_host_does_not_have_is_installed_beside_it(
    offline: Deployments, remote: Remote, furnished: Path
) -> None:
    offline.deployment(python=str(furnished), use_system_site_packages=True)
    remote.commit({"main.py": "", "requirements.txt": "part<2\n"})
    release = await offline.deploy(remote.path)
    assert run_python(release, "import part; print(part.VERSION)") == "1.5"


async def test_an_isolated_environment_does_not_see_the_hosts_packages(
    offline: Deployments, remote: Remote, furnished: Path
) -> None:
    offline.deployment(python=str(furnished), use_system_site_packages=False)
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await offline.deploy(remote.path)
    assert run_python(release, "import part; print(part.VERSION)") == "1.5"


async def test_a_project_that_is_a_package_is_installed_anew_with_each_commit(
    offline: Deployments, remote: Remote
) -> None:
    remote.commit(project_files("app", body="VERSION = 'one'\n"))
    first = await offline.deploy(remote.path)
    remote.commit({"app/__init__.py": "VERSION = 'two'\n"})
    second = await offline.deploy(remote.path)
    code = "import os; os.chdir('/'); import app; print(app.VERSION, 'site-packages' in app.__file__)"
    command = [f"import sys; sys.path.remove(''); {code}"]
    assert run_python(first, command[0]) == "one True"
    assert run_python(second, command[0]) == "two True"


async def test_an_editable_requirement_points_into_the_release(offline: Deployments, remote: Remote) -> None:
    files = {f"lib/{name}": content for name, content in project_files("lib").items()}
    remote.commit({**files, "main.py": "", "requirements.txt": "./lib\n"})
    release = await offline.deploy(remote.path)
    remote.commit({"lib/lib/__init__.py": "VERSION = 'changed'\n"})
    changed = await offline.deploy(remote.path)
    code = "import sys; sys.path.remove(''); import lib; print(lib.VERSION)"
    assert run_python(release, code) == "1.0"
    assert run_python(changed, code) == "changed"


async def test_a_plain_project_file_lists_what_is_installed(offline: Deployments, remote: Remote) -> None:
    text = '[project]\nname = "app"\nversion = "1"\ndependencies = ["thing==1.0"]\n'
    remote.commit({"main.py": "", "pyproject.toml": text})
    assert run_python(await offline.deploy(remote.path), VERSION) == "1.0"


def lock_with(uv: str, folder: Path, environ: dict[str, str]) -> None:
    command = [uv, "lock", "--python", sys.executable]
    subprocess.run(command, cwd=folder, env={**os.environ, **environ}, check=True, capture_output=True)


async def test_a_lock_is_followed_when_uv_is_there_and_told_of_when_not(
    offline: Deployments, remote: Remote, uv_path: str
) -> None:
    text = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.8"\ndependencies = ["thing"]\n'
    remote.commit({"main.py": "", "pyproject.toml": text + '[tool.uv]\nconstraint-dependencies = ["thing<2"]\n'})
    lock_with(f"{uv_path}/uv", remote.work, offline.environ)
    lock = (remote.work / "uv.lock").read_text()
    assert '"1.0"' in lock
    remote.commit({"pyproject.toml": text, "uv.lock": lock})
    assert run_python(await offline.deploy(remote.path), VERSION) == "1.0"
    assert "uv_lock_ignored" not in offline.actions()
    offline.deployment(installer="venv")
    assert run_python(await offline.deploy(remote.path), VERSION) == "2.0"
    assert "uv_lock_ignored" in offline.actions()


@pytest.mark.parametrize(
    ("installer", "requirement", "said"),
    [
        ("uv", "no-such-package-anywhere==1\n", "no-such-package-anywhere"),
        ("venv", "no-such-package-anywhere==1\n", "no-such-package-anywhere"),
        ("uv", "thing ~~ !\n", "a requirement line can't be understood"),
        ("uv", "broken==1.0\n", "had to be compiled and failed"),
        ("venv", "broken==1.0\n", "had to be compiled and failed"),
        ("uv", "thing==1.0\npart>=7\n", "part"),
    ],
)
async def test_what_can_not_be_installed_is_explained_and_leaves_nothing(
    offline: Deployments, remote: Remote, installer: str, requirement: str, said: str
) -> None:
    offline.deployment(installer=installer)
    remote.commit({"main.py": "", "requirements.txt": requirement})
    with pytest.raises(DeploymentError, match=r"installing requirements.txt failed") as caught:
        await offline.deploy(remote.path)
    assert said in str(caught.value)
    assert caught.value.step == "install"
    assert not caught.value.retryable
    assert offline.left_over() == []


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_an_index_that_is_away_may_come_back(site: Deployments, remote: Remote, installer: str) -> None:
    site.environ |= {"PIP_RETRIES": "0", "UV_HTTP_RETRIES": "0", "PIP_FIND_LINKS": ""}
    site.deployment(installer=installer, index_url="http://127.0.0.1:9/simple")
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    with pytest.raises(DeploymentError) as caught:
        await site.deploy(remote.path)
    assert caught.value.retryable or installer == "venv", "pip reports an index that is away as a missing package"


class PrivateIndex:
    """A package index that demands a password."""

    def __init__(self, wheels: Path, password: str) -> None:
        expected = "Basic " + base64.b64encode(f"reader:{password}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers.get("Authorization") != expected:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", "Basic")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                parts = self.path.strip("/").split("/")
                wheel = wheels / parts[-1]
                if wheel.is_file():
                    body, kind = wheel.read_bytes(), "application/octet-stream"
                else:
                    names = [path.name for path in wheels.glob(f"{parts[-1]}-*.whl")]
                    body = "".join(f'<a href="/files/{name}">{name}</a>' for name in names).encode()
                    kind = "text/html"
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


PASSWORD = "index-password-1"


@pytest.fixture
def index(wheels: Path) -> Iterator[PrivateIndex]:
    server = PrivateIndex(wheels, PASSWORD)
    yield server
    server.close()


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_a_private_index_is_used_and_its_password_found_nowhere(
    site: Deployments, remote: Remote, index: PrivateIndex, installer: str
) -> None:
    site.deployment(installer=installer, index_url=index.url, index_username="reader", index_password=PASSWORD)
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await site.deploy(remote.path)
    assert run_python(release, VERSION) == "1.0"
    assert site.holding(PASSWORD) == []
    assert PASSWORD not in site.said()


async def test_credentials_in_an_index_address_work_too(site: Deployments, remote: Remote, index: PrivateIndex) -> None:
    address = index.url.replace("://", f"://reader:{PASSWORD}@")
    site.deployment(index_url=address)
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await site.deploy(remote.path)
    assert run_python(release, VERSION) == "1.0"
    assert site.holding(PASSWORD) == []


@pytest.mark.parametrize("installer", INSTALLERS)
async def test_a_refused_password_is_a_clear_error(
    site: Deployments, remote: Remote, index: PrivateIndex, installer: str
) -> None:
    site.deployment(installer=installer, index_url=index.url, index_username="reader", index_password="wrong-one")
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    with pytest.raises(DeploymentError) as caught:
        await site.deploy(remote.path)
    assert "wrong-one" not in str(caught.value)
    assert "thing" in str(caught.value) or "refused access" in str(caught.value)


def other_python(version: str) -> str | None:
    found = sorted(Path("/root/.pyenv/versions").glob(f"{version}.*/bin/python"))
    program = shutil.which(f"python{version}")
    return str(found[-1]) if found else program


async def test_an_older_python_can_run_the_task_code(offline: Deployments, remote: Remote) -> None:
    python = other_python("3.8")
    if python is None:
        pytest.skip("there is no Python 3.8 here")
    offline.environ["PYENV_ROOT"] = "/root/.pyenv"
    offline.deployment(python="3.8")
    remote.commit({"main.py": "", "requirements.txt": "thing==1.0\n"})
    release = await offline.deploy(remote.path)
    assert run_python(release, "import sys, thing; print(*sys.version_info[:2], thing.VERSION)") == "3 8 1.0"
    launch = offline.deployer().launch(release, registration(remote.path))
    assert launch.argv[0] == str(release.environment / "bin" / "python")


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("3.99", "no Python 3.99 was found on PATH, by pyenv or by uv"),
        ("no-such-python", "there is no such program"),
        ("/bin/true", "does not run as a Python 3 interpreter"),
    ],
)
async def test_an_interpreter_that_will_not_do_is_named(
    site: Deployments, remote: Remote, python: str, said: str
) -> None:
    site.deployment(python=python)
    remote.commit({"main.py": ""})
    with pytest.raises(DeploymentError, match=said) as caught:
        await site.deploy(remote.path)
    assert not caught.value.retryable


async def test_an_interpreter_that_is_too_old_is_named(site: Deployments, remote: Remote) -> None:
    python = other_python("3.7") or other_python("3.6")
    if python is None:
        pytest.skip("there is no Python below 3.8 here")
    site.deployment(python=python)
    remote.commit({"main.py": ""})
    with pytest.raises(DeploymentError, match=r"is Python 3\.[67]\.\d+ at .*, expected 3.8 or newer"):
        await site.deploy(remote.path)


async def test_a_missing_venv_module_is_explained(site: Deployments, remote: Remote, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *importlib.metadata*) {sys.executable} "$@" | sed \'s/"venv": true/"venv": '
        f'false/; s#"executable": "[^"]*"#"executable": "{python}"#; s#"below": "[^"]*"#"below": null#\';;'
        f' *) exec {sys.executable} "$@";; esac\n'
    )
    python.chmod(0o755)
    site.deployment(python=str(python), installer="venv")
    remote.commit({"main.py": ""})
    with pytest.raises(DeploymentError, match="has no venv module: apt install python3-venv"):
        await site.deploy(remote.path)


async def test_uv_must_be_there_when_it_is_asked_for(site: Deployments, remote: Remote, monkeypatch: Any) -> None:
    monkeypatch.setattr("runqy_worker.deployment.build.find_uv", lambda _environ: None)
    remote.commit({"main.py": ""})
    with pytest.raises(DeploymentError, match="there is no uv on PATH"):
        await site.deploy(remote.path)


async def test_installers_do_not_see_what_is_the_workers(offline: Deployments, remote: Remote, tmp_path: Path) -> None:
    files = project_files("app")
    spy = f"import os; open({str(tmp_path / 'seen')!r}, 'w').write('\\n'.join(os.environ))\n"
    files["own_backend.py"] = spy + str(files["own_backend.py"])
    remote.commit(files)
    offline.environ |= {"RUNQY_API_KEY": "k", "NOTIFY_SOCKET": "/s", "PYTHONPATH": "/nowhere"}
    await offline.deploy(remote.path)
    seen = set((tmp_path / "seen").read_text().split())
    assert not {"RUNQY_API_KEY", "NOTIFY_SOCKET"} & seen
    assert not [notice for notice in offline.notices if notice.level >= Level.WARNING]
