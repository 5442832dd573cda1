"""The tags that the documents promise, and what is run to build them."""

from __future__ import annotations

import images
import pytest
import yaml
from images import IMAGES, ROOT, commands, names

from runqy_worker.version import __version__

ARGUMENTS = {"VERSION": __version__}


def test_the_documented_tags_are_made() -> None:
    made = {kind: [name.partition(":")[2] for name in names(kind, "worker")] for kind in IMAGES}
    assert made == {
        "minimal": ["latest", "minimal", __version__, f"{__version__}-minimal"],
        "inference": ["inference", f"{__version__}-inference"],
    }


def test_an_image_is_built_once_with_all_its_names_and_each_is_pushed() -> None:
    tags = names("inference", "registry.example.org/worker")
    build, *pushes = commands("inference", tags, ARGUMENTS, "", push=True)
    assert build[:4] == ["docker", "build", "--file", "packaging/docker/inference.Dockerfile"]
    assert [build[at + 1] for at, word in enumerate(build) if word == "--tag"] == tags
    assert build[-3:] == ["--build-arg", f"VERSION={__version__}", "."]
    assert pushes == [["docker", "push", tag] for tag in tags]


def test_several_platforms_need_buildx_which_pushes_by_itself() -> None:
    (build,) = commands("minimal", ["worker:latest"], {}, "linux/amd64,linux/arm64", push=True)
    assert build[:6] == ["docker", "buildx", "build", "--platform", "linux/amd64,linux/arm64", "--push"]


def test_an_unknown_image_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["images.py", "alpine"])
    with pytest.raises(SystemExit):
        images.main()
    assert "found 'alpine', expected minimal or inference" in capsys.readouterr().err


@pytest.mark.parametrize("service", ["worker", "server", "redis"])
def test_a_composed_service_can_do_no_more_than_it_needs(service: str) -> None:
    services = yaml.safe_load((ROOT / "packaging/docker/compose.yml").read_text())["services"]
    found = services[service]
    assert (found["read_only"], found["cap_drop"], found["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert all(port.startswith("127.0.0.1:") for port in found.get("ports", []))
