"""The argument specs are the truth, and everything else agrees with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import role_readme
import yaml
from collection.files import COLLECTION, DEFAULTS, OPTIONS, ROLE, sources

from runqy_worker.service.instances.places import CREDENTIALS
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def _leaves(options: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, option in options.items():
        yield name, option
        yield from _leaves(option.get("options", {}))


def test_the_defaults_are_those_of_the_specs() -> None:
    assert {name: option.get("default") for name, option in OPTIONS.items()} == DEFAULTS


def test_every_option_says_what_it_is() -> None:
    for name, option in _leaves(OPTIONS):
        assert option["description"], name
        assert option["type"], name


def test_variables_begin_as_the_role_does() -> None:
    internal = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    assert all(re.fullmatch("runqy_worker_[a-z0-9_]+", name) for name in DEFAULTS)
    assert all(re.fullmatch("__runqy_worker_[a-z0-9_]+", name) for name in internal)


def test_no_variable_is_unused() -> None:
    internal = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    registered = re.findall(r"register: (\w+)", "".join(sources().values()))
    text = "\n".join(sources().values())
    for name in (*DEFAULTS, *internal, *registered):
        used = len(re.findall(rf"\b{name}\b", text))
        assert used >= (1 if name in DEFAULTS else 2), f"{name} is never used"


def test_no_variable_is_made_up() -> None:
    internal = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    for path, text in sources().items():
        for name in re.findall(r"(?<!_)\brunqy_worker_[a-z0-9_]+\b", text):
            assert name in DEFAULTS, f"{path}: {name}"
        made = set(re.findall(r"(?:register: |^\s+)(__runqy_worker_\w+)", "\n".join(sources().values()), re.MULTILINE))
        for name in re.findall(r"\b__runqy_worker_[a-z0-9_]+\b", text):
            assert name in internal or name in made, f"{path}: {name}"


def test_credentials_are_those_of_the_worker() -> None:
    assert {name.replace("_", "-") for name in OPTIONS["runqy_worker_credentials"]["options"]} == set(CREDENTIALS)
    per_instance = OPTIONS["runqy_worker_instances"]["options"]["credentials"]["options"]
    assert per_instance == OPTIONS["runqy_worker_credentials"]["options"]


def test_secrets_are_in_one_task_which_shows_nothing() -> None:
    told = [path.name for path, text in sources().items() if "item.content" in text]
    assert told == ["credentials.yml"]
    (task,) = [task for task in yaml.safe_load((ROLE / "tasks" / "credentials.yml").read_text()) if "no_log" in task]
    assert task["diff"] is False
    assert task["no_log"] == "{{ runqy_worker_no_log | bool }}"
    assert task["ansible.builtin.copy"]["mode"] == "0400"


def test_no_second_copy_of_a_unit_is_in_the_collection() -> None:
    shipped = {path.name for path in (COLLECTION.parent / "systemd").rglob("*") if path.is_file()}
    assert not [path for path in COLLECTION.rglob("*") if path.name in shipped - {"README.md"}]
    assert "ExecStart" not in "".join(sources().values())


def test_the_readmes_are_made_from_the_specs() -> None:
    for path in (COLLECTION / "roles").glob("*/README.md"):
        assert path.read_text() == role_readme.rendered(path.parent.name), "run: python packaging/role_readme.py"


def test_the_collection_installs_the_version_that_it_comes_with() -> None:
    internal = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    assert internal["__runqy_worker_own_version"] == __version__
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == __version__


@pytest.mark.parametrize(("kind", "converted"), [("bool", "bool"), ("int", "int")])
def test_what_may_be_given_as_text_on_the_command_line_is_converted_where_it_is_used(kind: str, converted: str) -> None:
    named = [
        name for name, option in OPTIONS.items() if option["type"] == kind and name != "runqy_worker_journal_lines"
    ]
    for path, text in sources().items():
        for name in named:
            used = re.findall(rf"\b{name}\b(?!:)(?!=)(?! to true)", text)
            assert len(used) == len(re.findall(rf"\b{name} \| {converted}\b", text)), f"{path}: {name}"


def test_nothing_is_delegated_or_run_for_others() -> None:
    for path, text in sources().items():
        assert "delegate_to" not in text, path
        assert "run_once" not in text, path
