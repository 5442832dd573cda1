from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.deployment.dependencies import Dependencies, Kind, find_dependencies
from runqy_worker.deployment.poetry import poetry_requirements
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

BUILD = '[build-system]\nrequires = ["setuptools"]\n'
PROJECT = '[project]\nname = "thing"\nversion = "1"\ndependencies = ["requests>=2", "numpy"]\n'
POETRY = '[tool.poetry]\nname = "thing"\n[tool.poetry.dependencies]\npython = "^3.9"\nrequests = "^2.31"\n'


def found(root: Path, files: dict[str, str], code: str = "", requirements_file: str = "") -> Dependencies:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / code).mkdir(parents=True, exist_ok=True)
    return find_dependencies(root, root / code, requirements_file)


def test_no_file_means_no_dependencies(tmp_path: Path) -> None:
    assert found(tmp_path, {}).kind is Kind.NONE


def test_the_code_path_comes_before_the_root_and_requirements_before_the_project(tmp_path: Path) -> None:
    files = {"requirements.txt": "a", "app/pyproject.toml": PROJECT, "app/requirements.txt": "b"}
    assert found(tmp_path, files, "app").file == tmp_path / "app/requirements.txt"
    (tmp_path / "app/requirements.txt").unlink()
    assert found(tmp_path, {}, "app").file == tmp_path / "app/pyproject.toml"
    (tmp_path / "app/pyproject.toml").unlink()
    assert found(tmp_path, {}, "app").file == tmp_path / "requirements.txt"


def test_a_named_file_wins_and_must_exist(tmp_path: Path) -> None:
    files = {"requirements.txt": "a", "requirements/gpu.txt": "b"}
    assert found(tmp_path, files, "app", "requirements/gpu.txt").file == tmp_path / "requirements/gpu.txt"
    with pytest.raises(DeploymentError, match="has no such file"):
        found(tmp_path, {}, "app", "requirements/tpu.txt")


def test_a_project_file_that_only_configures_tools_is_passed_by(tmp_path: Path) -> None:
    assert found(tmp_path, {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"}).kind is Kind.NONE


def test_the_fingerprint_follows_included_files(tmp_path: Path) -> None:
    files = {"requirements.txt": "-r base.txt\n-c limits.txt\n", "base.txt": "a==1\n", "limits.txt": "b<2\n"}
    first = found(tmp_path, files)
    assert found(tmp_path, {"limits.txt": "b<3\n"}).fingerprint != first.fingerprint
    assert found(tmp_path, {"limits.txt": "b<2\n"}).fingerprint == first.fingerprint


@pytest.mark.parametrize("line", ["-e .", "--editable ./lib", "./lib", "../lib", ".", "thing @ file:lib", "/srv/thing"])
def test_requirements_that_name_folders_tie_the_environment_to_the_release(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, {"requirements.txt": f"a==1\n{line}\n"}).tied


def test_other_requirements_leave_the_environment_to_be_shared(tmp_path: Path) -> None:
    assert not found(tmp_path, {"requirements.txt": "a==1\n# ./lib\n--index-url https://host/simple\n"}).tied


def test_a_plain_project_is_installed_from_its_list(tmp_path: Path) -> None:
    project = found(tmp_path, {"pyproject.toml": PROJECT})
    assert project.requirements == ("requests>=2", "numpy")
    assert not project.install_project
    assert not project.tied


def test_a_project_that_is_a_package_is_built_and_tied(tmp_path: Path) -> None:
    project = found(tmp_path, {"pyproject.toml": PROJECT + BUILD})
    assert project.install_project
    assert project.tied
    not_packaged = found(tmp_path, {"pyproject.toml": PROJECT + BUILD + "[tool.uv]\npackage = false\n"})
    assert not not_packaged.install_project


def test_dynamic_dependencies_need_a_build(tmp_path: Path) -> None:
    text = '[project]\nname = "thing"\nversion = "1"\ndynamic = ["dependencies"]\n'
    assert found(tmp_path, {"pyproject.toml": text + BUILD}).install_project


def test_a_lock_beside_the_project_counts_into_the_fingerprint(tmp_path: Path) -> None:
    first = found(tmp_path, {"pyproject.toml": PROJECT, "uv.lock": "version = 1\n"})
    assert first.locked
    assert found(tmp_path, {"uv.lock": "version = 2\n"}).fingerprint != first.fingerprint


def test_a_poetry_project_without_a_package_is_installed_from_its_table(tmp_path: Path) -> None:
    build = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
    project = found(tmp_path, {"pyproject.toml": POETRY + build})
    assert project.requirements == ("requests>=2.31,<3",)
    assert not project.install_project
    assert found(tmp_path, {"thing/__init__.py": ""}).install_project


def test_a_broken_project_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"pyproject.toml can't be read"):
        found(tmp_path, {"pyproject.toml": "[project\n"})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("^1.2.3", "p>=1.2.3,<2"),
        ("^0.2.3", "p>=0.2.3,<0.3"),
        ("^0.0.3", "p>=0.0.3,<0.0.4"),
        ("^0", "p>=0,<1"),
        ("~1.2.3", "p>=1.2.3,<1.3"),
        ("~1", "p>=1,<2"),
        ("1.2.3", "p==1.2.3"),
        ("1.2.*", "p==1.2.*"),
        ("*", "p"),
        (">=1, <3", "p>=1,<3"),
        ("~=1.4", "p~=1.4"),
        ({"version": "^2", "extras": ["a", "b"]}, "p[a,b]>=2,<3"),
        ({"version": "*", "markers": "sys_platform == 'linux'"}, "p ; sys_platform == 'linux'"),
        ({"version": "1", "python": "<3.11"}, "p==1 ; python_version < '3.11'"),
        ({"git": "https://host/p.git", "tag": "v1"}, "p @ git+https://host/p.git@v1"),
        ({"url": "https://host/p.whl"}, "p @ https://host/p.whl"),
    ],
)
def test_poetry_constraints_become_standard_ones(given: object, line: str) -> None:
    assert poetry_requirements({"dependencies": {"python": "^3.9", "p": given}}) == [line]


def test_poetry_leaves_optional_dependencies_out_and_takes_alternatives() -> None:
    table = {"a": {"version": "1", "optional": True}, "b": [{"version": "1", "python": "<3.9"}, {"version": "2"}]}
    assert poetry_requirements({"dependencies": table}) == ["b==1 ; python_version < '3.9'", "b==2"]


@pytest.mark.parametrize("given", ["^1 || ^2", {"path": "../p"}])
def test_poetry_constraints_that_no_standard_knows_are_refused(given: object) -> None:
    with pytest.raises(DeploymentError):
        poetry_requirements({"dependencies": {"p": given}})
