"""Adding, listing and removing instances below a root that is made ready for another host."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runqy_worker.cli.main import main
from runqy_worker.config.loading import load_config
from runqy_worker.service.instances.placing import NewFile, place

KEY = "k-12345-secret"
URL = "https://runqy.example.com"


class Host:
    """A root directory, and the commands that work on it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.key = root.parent / "key"
        self.key.write_text(KEY + "\n")
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors of `runqy-worker instance WORDS`."""
        code = main(["instance", *words, "--root", str(self.root)])
        said = self._capsys.readouterr()
        assert KEY not in said.out + said.err
        return code, said.out, said.err

    def add(self, name: str = "inference", *more: str) -> tuple[int, str, str]:
        return self.run("add", name, "--server-url", URL, "--api-key-file", str(self.key), *more)

    def path(self, name: str) -> Path:
        return self.root / name

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    root = tmp_path / "host"
    root.mkdir()
    return Host(root, capsys)


SETTINGS = "etc/runqy-worker/instances/inference.yml"
VARIABLES = "etc/runqy-worker/instances/inference.env"
SECRET = "etc/credstore/runqy-worker.inference.api-key"
CUDA = "etc/systemd/system/runqy-worker@inference.service.d/cuda.conf"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_instance_has_its_files_and_its_key_is_roots_alone(host: Host) -> None:
    code, out, err = host.add("inference", "--concurrency", "4", "--set", "deployment.python=3.11")
    assert (code, err) == (0, "")
    assert set(host.files()) == {SETTINGS, VARIABLES, SECRET, "etc/runqy-worker/config.yml"}
    assert all(f"wrote {host.path(name)}\n" in out for name in host.files())
    assert host.path(SECRET).read_text() == KEY
    assert mode(host.path(SECRET)) == 0o600
    assert mode(host.path("etc/credstore")) == 0o700
    assert mode(host.path(VARIABLES)) == 0o640
    assert mode(host.path(SETTINGS)) == 0o644
    assert KEY not in host.path(SETTINGS).read_text() + host.path(VARIABLES).read_text()
    assert "/etc/credstore/runqy-worker.inference.api-key" in host.path(SETTINGS).read_text()


def test_what_was_asked_for_is_in_force(host: Host) -> None:
    awkward = 'a: "b" # c, ü'
    host.add(
        "inference", "--queue", "reports.high", "--set", f"git.ssh_key={awkward}", "--set", "deployment.python=3.10"
    )
    config = load_config(host.path("etc/runqy-worker/config.yml"), instance="inference", environ={"RUNQY_API_KEY": KEY})
    assert config.queues == ("reports.high",)
    assert config.server.url == URL
    assert config.git.ssh_key == awkward
    assert config.deployment.python == "3.10"


def test_without_queue_the_queue_has_the_instances_name(host: Host) -> None:
    host.add()
    assert "  queue: inference\n" in host.path(SETTINGS).read_text()


def test_a_setting_that_names_several_queues_takes_the_place_of_one(host: Host) -> None:
    assert host.add("inference", "--set", "worker.queues=a,b")[0] == 0
    assert "queue: inference" not in host.path(SETTINGS).read_text()


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "-a", ".a", "a@b", "a:b", "ä", "a\n", "x" * 65])
def test_a_name_that_no_unit_may_have_is_refused(host: Host, name: str) -> None:
    code, _, err = host.run("add", "--server-url", URL, "--", name)
    assert code == 64
    assert "expected 1 to 64 letters, digits and . _ -" in err
    assert host.files() == {}


def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_written(host: Host) -> None:
    words = ("--server-url", "ftp://x", "--set", "lease.duration=soon", "--set", "worker.concurrency=0")
    code, _, err = host.run("add", "inference", *words)
    assert code == 78
    for key in ("server.url", "lease.duration", "worker.concurrency", "server.api_key: missing"):
        assert key in err
    assert str(host.path(SETTINGS)) in err
    assert host.files() == {}


def test_a_queues_file_is_checked_too(host: Host, tmp_path: Path) -> None:
    queues = tmp_path / "queues.yml"
    queues.write_text("queues: {jobs: {deployment: {git_url: /code, startup_cmd: ''}}}\n")
    code, _, err = host.run("add", "jobs", "--set", f"local.queues_file={queues}", "--set", "redis.addr=127.0.0.1:1")
    assert code == 78
    assert "startup_cmd: is empty" in err
    assert host.files() == {}


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b" spaces ", b"\xff\xfe"])
def test_a_key_that_can_never_be_right_is_refused_without_showing_it(host: Host, content: bytes) -> None:
    host.key.write_bytes(content)
    code, _, err = host.add()
    assert code == 78
    assert "api-key" in err
    assert "two" not in err
    assert host.files() == {}


def test_a_key_file_that_is_missing_is_named(host: Host) -> None:
    host.key.unlink()
    code, _, err = host.add()
    assert code == 78
    assert f"{host.key}: can't be read (No such file or directory)" in err


def test_the_key_may_come_from_the_standard_input(host: Host) -> None:
    command = [sys.executable, "-m", "runqy_worker", "instance", "add", "inference", "--server-url", URL]
    command += ["--api-key-file", "-", "--root", str(host.root)]
    subprocess.run(command, input=KEY.encode() + b"\n", check=True, capture_output=True)
    assert host.path(SECRET).read_text() == KEY


def test_a_secret_in_a_setting_is_refused_since_everybody_sees_it(host: Host) -> None:
    code, _, err = host.run("add", "inference", "--set", "redis.password=hidden")
    assert code == 64
    assert "--credential redis-password=FILE" in err


def test_other_secrets_are_stored_likewise(host: Host) -> None:
    assert host.add("inference", "--credential", f"redis-password={host.key}")[0] == 0
    path = host.path("etc/credstore/runqy-worker.inference.redis-password")
    assert path.read_text() == KEY
    assert mode(path) == 0o600


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "worker.concurency=2"], "did you mean worker.concurrency?"),
        (["--set", "worker.concurrency"], "expected section.key=value"),
        (["--credential", "api-kee=x"], "the credential 'api-kee' is not known"),
        (["--gpus", "0"], "expected a UUID such as GPU-"),
        (["--gpus", "GPU-1"], "without --device cuda"),
        (["--encrypt"], "found it with --root"),
        (["--start"], "found it with --root"),
        (["--api-key-file", "-", "--credential", "git-token=-"], "found it twice"),
    ],
)
def test_wrong_arguments_are_explained(host: Host, words: list[str], expected: str) -> None:
    code, _, err = host.run("add", "inference", "--server-url", URL, *words)
    assert code == 64
    assert expected in err
    assert host.files() == {}


def test_what_is_there_is_not_touched_without_force(host: Host) -> None:
    host.add()
    before = host.files()
    code, _, err = host.add("inference", "--concurrency", "9")
    assert code == 1
    assert "is there already" in err
    assert host.files() == before


def test_force_replaces_and_keeps_the_secrets(host: Host) -> None:
    host.add()
    code, _, err = host.run("add", "inference", "--server-url", URL, "--concurrency", "9", "--force")
    assert (code, err) == (0, "")
    assert "concurrency: 9" in host.path(SETTINGS).read_text()
    assert host.path(SECRET).read_text() == KEY


def test_the_main_file_that_is_there_is_left_alone_and_counts(host: Host) -> None:
    main_file = host.path("etc/runqy-worker/config.yml")
    main_file.parent.mkdir(parents=True)
    main_file.write_text(f"server: {{url: '{URL}'}}\n")
    assert host.run("add", "inference", "--api-key-file", str(host.key))[0] == 0
    assert main_file.read_text() == f"server: {{url: '{URL}'}}\n"
    assert "url:" not in [line.strip()[:4] for line in host.path(SETTINGS).read_text().splitlines()]


@pytest.fixture
def example(host: Host) -> bytes:
    """The drop-in that the package brings."""
    path = host.path("usr/share/doc/runqy-worker/examples/drop-ins/cuda.conf")
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nPrivateDevices=no\n")
    return path.read_bytes()


def test_for_cuda_the_unit_gets_its_drop_in_and_the_gpus_are_named(host: Host, example: bytes) -> None:
    assert host.add("inference", "--device", "cuda", "--gpus", "GPU-aa-1, GPU-bb-2")[0] == 0
    assert host.path(CUDA).read_bytes() == example
    variables = host.path(VARIABLES).read_text()
    assert "\nCUDA_VISIBLE_DEVICES=GPU-aa-1,GPU-bb-2\n" in variables
    assert "\nCUDA_DEVICE_ORDER=PCI_BUS_ID\n" in variables


def test_a_cuda_instance_that_becomes_a_cpu_one_loses_its_drop_in(host: Host, example: bytes) -> None:
    host.add("inference", "--device", "cuda")
    code, out, _ = host.add("inference", "--force")
    assert code == 0
    assert f"removed {host.path(CUDA)}" in out
    assert not host.path(CUDA).exists()


def test_the_list_tells_of_each_instance_and_what_is_wrong_with_it(host: Host) -> None:
    host.add("a", "--concurrency", "2")
    host.add("b")
    host.path("etc/runqy-worker/instances/b.yml").write_text("worker: {concurrency: x}\n")
    code, out, _ = host.run("list", "--json")
    assert code == 0
    a, b = json.loads(out)
    assert (a["name"], a["queues"], a["concurrency"], a["device"], a["credentials"]) == ("a", "a", 2, "cpu", "api-key")
    assert (a["problem"], b["name"]) == ("", "b")
    assert "worker.concurrency" in b["problem"]
    _, table, _ = host.run("list")
    assert table.splitlines()[0].split()[:3] == ["NAME", "QUEUES", "CONCURRENCY"]
    assert len(table.splitlines()) == 3


def test_one_instance_is_shown_with_its_files(host: Host) -> None:
    host.add()
    code, out, _ = host.run("show", "inference")
    assert code == 0
    assert f"{host.path(SECRET)}" in out
    assert "runqy-worker@inference.service" in out
    assert host.run("show", "other")[0] == 1


def test_removing_takes_every_file_and_leaves_other_instances_alone(host: Host, example: bytes) -> None:
    host.add("a", "--device", "cuda", "--credential", f"git-token={host.key}")
    host.add("a.b")
    others = {name for name in host.files() if "a.b" in name} | {"etc/runqy-worker/config.yml"}
    (host.path("etc/systemd/system/runqy-worker@a.service.d") / "limits.conf").write_text("[Service]\n")
    data = host.path("var/lib/runqy-worker/a")
    (data / "releases").mkdir(parents=True)
    code, out, _ = host.run("remove", "a")
    assert code == 0
    assert set(host.files()) == others | {"usr/share/doc/runqy-worker/examples/drop-ins/cuda.conf"}
    assert not host.path("etc/systemd/system/runqy-worker@a.service.d").exists()
    assert f"kept {data}" in out
    assert data.is_dir()


def test_purging_takes_what_it_wrote_too(host: Host) -> None:
    host.add("a")
    for kind in ("lib", "cache", "log"):
        host.path(f"var/{kind}/runqy-worker/a/deep").mkdir(parents=True)
        host.path(f"var/{kind}/runqy-worker/b").mkdir(parents=True)
    assert host.run("remove", "a", "--purge-data")[0] == 0
    assert not any(host.path(f"var/{kind}/runqy-worker/a").exists() for kind in ("lib", "cache", "log"))
    assert all(host.path(f"var/{kind}/runqy-worker/b").exists() for kind in ("lib", "cache", "log"))


def test_removing_what_is_not_there_names_what_is(host: Host) -> None:
    host.add("a")
    code, _, err = host.run("remove", "nope")
    assert code == 1
    assert "there is no instance 'nope'" in err
    assert "there are: a" in err


def test_a_failure_half_way_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "gone").write_bytes(b"old gone")
    calls: list[Path] = []
    rename = Path.replace

    def failing(self: Path, target: Path) -> Path:
        calls.append(Path(target))
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    new = [NewFile(tmp_path / "a", b"new a"), NewFile(tmp_path / "deep" / "er" / "b", b"new b")]
    with pytest.raises(OSError, match="No space left"):
        place(new, [tmp_path / "gone"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old a", "gone": b"old gone"}


def test_placing_replaces_and_removes_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "gone").write_bytes(b"old gone")
    place([NewFile(tmp_path / "a", b"new a", 0o600)], [tmp_path / "gone", tmp_path / "never"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new a"
    assert mode(tmp_path / "a") == 0o600
