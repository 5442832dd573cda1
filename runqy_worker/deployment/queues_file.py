"""Queue definitions in the runqy server's YAML format.

    queues:
      inference:
        sub_queues: [{name: high, priority: 10}, {name: low, priority: 3}]   # or `priority: 5` alone
        deployment: {git_url: ..., branch: main, code_path: ..., startup_cmd: python main.py, mode: long_running}
    vaults:                      # ours: the server keeps these elsewhere
      api-keys: {OPENAI_API_KEY: "${OPENAI_API_KEY}"}

A queue without `sub_queues` has the one sub-queue `default`. `redis_storage` is off unless it is set, as on the
server. A relative path in `git_url` is taken from the folder of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from runqy_worker.deployment.answer import DEFAULT_STARTUP_TIMEOUT, DeploymentSpec, QueueAnswer
from runqy_worker.deployment.queues_section import Section
from runqy_worker.deployment.vault_entries import read_vaults
from runqy_worker.deployment.yaml_lines import Mapping as YamlMapping
from runqy_worker.deployment.yaml_lines import read
from runqy_worker.domain import queues
from runqy_worker.domain.errors import ConfigError
from runqy_worker.domain.launch import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_QUEUE_KEYS = {"priority", "provider", "deployment", "sub_queues", "input", "output", "mode"}
_DEPLOYMENT_KEYS = {
    "branch", "code_path", "env_vars", "git_token", "git_url", "limits", "mode", "redis_storage",
    "requirements_file", "startup_cmd", "startup_timeout_secs", "vaults",
}  # fmt: skip
_VAULT_REFERENCE = "vault://"


@dataclass(frozen=True, slots=True)
class QueueDefinition:
    """One parent queue.

    Attributes:
        name: The parent's name.
        sub_queues: Full names and priorities, highest priority first.
        deployment: What code runs it.
        git_token: Token for the repository.
        vault_entries: Entries of the vaults that the deployment names; later vaults win.
    """

    name: str
    sub_queues: tuple[QueueAnswer, ...]
    deployment: DeploymentSpec
    git_token: str = field(default="", repr=False)
    vault_entries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True)
class QueuesFile:
    """All definitions, and remarks on what was not understood.

    Attributes:
        queues: Parent name -> definition.
        remarks: Keys that are unknown here, one line each; newer servers may know them.
    """

    queues: Mapping[str, QueueDefinition]
    remarks: tuple[str, ...] = ()

    @property
    def known(self) -> str:
        """Every parent and sub-queue, with commas."""
        return ", ".join(
            name for item in self.queues.values() for name in (item.name, *(q.name for q in item.sub_queues))
        )

    def find(self, queue: str) -> tuple[QueueDefinition, tuple[QueueAnswer, ...]] | None:
        """The definition for a parent or one of its sub-queues, with the queues to serve; None when unknown."""
        definition = self.queues.get(queues.parent_of(queue))
        if definition is None:
            return None
        if queues.is_parent(queue):
            return definition, definition.sub_queues
        wanted = queue.replace(":", ".", 1)
        served = tuple(item for item in definition.sub_queues if item.name == wanted)
        return (definition, served) if served else None


def read_queues_file(path: Path, environ: Mapping[str, str]) -> QueuesFile:
    """Read a file, or every `*.yaml` and `*.yml` of a folder.

    Args:
        path: The file or folder.
        environ: Where `${VAR}` in vault entries is looked up.

    Raises:
        ConfigError: With every problem: file, line, key, what was found, what was expected.
    """
    files = [path]
    if path.is_dir():
        files = sorted((*path.glob("*.yaml"), *path.glob("*.yml")))
    problems: list[str] = []
    remarks: list[str] = []
    found: dict[str, QueueDefinition] = {}
    for file in files:
        try:
            document = read(file)
        except ConfigError as error:
            problems += error.problems
            continue
        top = Section(file, "", document if document is not None else YamlMapping(), problems, remarks)
        vaults = read_vaults(top, environ)
        for name, section in top.sections("queues"):
            found[name] = _queue(name, section, vaults, file)
    if problems:
        raise ConfigError(tuple(problems))
    if not found:
        raise ConfigError((f"{path}: defines no queue, expected a `queues:` mapping",))
    return QueuesFile(MappingProxyType(found), tuple(remarks))


def _queue(name: str, section: Section, vaults: Mapping[str, Mapping[str, str]], file: Path) -> QueueDefinition:
    section.remark_unknown(_QUEUE_KEYS)
    if not queues.is_valid(name) or not queues.is_parent(name):
        section.problem("", f"the name {name!r} is not usable, expected letters, digits, '_' and '-'")
    deployment = section.section("deployment", required=True)
    deployment.remark_unknown(_DEPLOYMENT_KEYS)
    named = deployment.texts("vaults")
    entries: dict[str, str] = {}
    for vault in named:
        if vault in vaults:
            entries.update(vaults[vault])
        else:
            known = ", ".join(sorted(vaults)) or "none are defined"
            deployment.problem("vaults", f"the vault {vault!r} is not defined (known: {known})")
    return QueueDefinition(
        name=name,
        sub_queues=_sub_queues(name, section),
        deployment=_deployment(deployment, section, named, file),
        git_token=_git_token(deployment, vaults),
        vault_entries=MappingProxyType(entries),
    )


def _sub_queues(parent: str, section: Section) -> tuple[QueueAnswer, ...]:
    listed = section.items("sub_queues")
    if not listed:
        priority = section.number("priority", required=True, minimum=1)
        return (QueueAnswer(queues.enqueue_target(parent), max(1, priority)),)
    found = []
    for item in listed:
        item.remark_unknown({"name", "priority"})
        name = item.text("name", required=True)
        if name and (not queues.is_valid(name) or not queues.is_parent(name)):
            item.problem("name", f"{name!r} is not usable, expected letters, digits, '_' and '-'")
        found.append(QueueAnswer(f"{parent}.{name}", max(1, item.number("priority", required=True, minimum=1))))
    return tuple(sorted(found, key=lambda item: -item.priority))


def _deployment(deployment: Section, queue: Section, vaults: tuple[str, ...], file: Path) -> DeploymentSpec:
    modes = {mode.value: mode for mode in Mode}
    holder = deployment if deployment.text("mode") else queue  # older files have it beside `deployment`
    mode = holder.text("mode") or Mode.LONG_RUNNING.value
    if mode not in modes:
        holder.problem("mode", f"{mode!r} is unknown, expected one of {', '.join(modes)}")
    timeout = deployment.number("startup_timeout_secs", minimum=0)
    return DeploymentSpec(
        git_url=_resolved(deployment.text("git_url", required=True), file),
        startup_cmd=deployment.text("startup_cmd", required=True),
        branch=deployment.text("branch"),
        code_path=deployment.text("code_path"),
        mode=modes.get(mode, Mode.LONG_RUNNING),
        env_vars=MappingProxyType(deployment.variables("env_vars")),
        startup_timeout=float(timeout) or DEFAULT_STARTUP_TIMEOUT,
        redis_storage=deployment.flag("redis_storage"),
        vaults=vaults,
        requirements_file=deployment.text("requirements_file"),
    )


def _resolved(git_url: str, file: Path) -> str:
    if git_url in {".", ".."} or git_url.startswith(("./", "../")):
        return str((file.parent / git_url).resolve())
    return git_url


def _git_token(deployment: Section, vaults: Mapping[str, Mapping[str, str]]) -> str:
    reference = deployment.text("git_token")
    if not reference:
        return ""
    vault, _, key = reference.removeprefix(_VAULT_REFERENCE).partition("/")
    if not reference.startswith(_VAULT_REFERENCE) or not key:
        deployment.problem("git_token", "expected vault://NAME/KEY, so that the token itself stays out of the file")
        return ""
    if key not in vaults.get(vault, {}):
        deployment.problem("git_token", f"{reference!r} is not defined under `vaults:`")
        return ""
    return vaults[vault][key]
