"""Completion files: shells read them, and complete the command line with what the program takes."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from completions import PLACES, render
from support.tools import missing

from runqy_worker.cli.main import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

_ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
function=$(complete -p runqy-worker | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" runqy-worker "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shell -> its file."""
    folder = tmp_path_factory.mktemp("completions")
    made = {shell: folder / place.rpartition("/")[2] for shell, place in PLACES.items()}
    for shell, path in made.items():
        path.write_text(render(shell))
    return made


def in_bash(file: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    command = ["bash", "--norc", "-c", _ASK_BASH, "bash", str(file), "runqy-worker", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=file.parent)
    return sorted(word.strip() for word in done.stdout.splitlines() if word.strip())


def in_fish(file: Path, line: str) -> list[str]:
    """What fish offers for the last word of `line`."""
    script = f"source {file}; complete --do-complete '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    return sorted(offered.partition("\t")[0] for offered in done.stdout.splitlines())


def test_bash_offers_the_commands(files: dict[str, Path]) -> None:
    assert set(COMMANDS) <= set(in_bash(files["bash"], ""))
    assert in_bash(files["bash"], "vers") == ["version"]


def test_bash_offers_commands_of_commands_and_their_options(files: dict[str, Path]) -> None:
    assert in_bash(files["bash"], "task", "canc") == ["cancel"]
    assert in_bash(files["bash"], "run", "--conc") == ["--concurrency"]


def test_bash_offers_the_values_of_a_choice(files: dict[str, Path]) -> None:
    assert in_bash(files["bash"], "run", "--log-format", "js") == ["json"]


def test_bash_offers_files_where_one_is_wanted(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "here.yml").touch()
    assert in_bash(files["bash"], "run", "--config", f"{tmp_path}/he") == [f"{tmp_path}/here.yml"]


def test_bash_offers_the_options_of_run_without_the_command(files: dict[str, Path]) -> None:
    assert "--config" in in_bash(files["bash"], "--conf")


def test_fish_offers_commands_and_values(files: dict[str, Path]) -> None:
    if shutil.which("fish") is None:
        missing("fish is missing: apt-get install fish")
    assert in_fish(files["fish"], "runqy-worker vers") == ["version"]
    assert in_fish(files["fish"], "runqy-worker run --log-format js") == ["json"]


def test_zsh_can_read_its_file(files: dict[str, Path]) -> None:
    assert files["zsh"].read_text().startswith("#compdef runqy-worker\n")
    if shutil.which("zsh") is None:
        missing("zsh is missing: apt-get install zsh")
    subprocess.run(["zsh", "-n", str(files["zsh"])], check=True, capture_output=True)


@pytest.mark.parametrize("shell", PLACES)
def test_the_same_build_gives_the_same_file(shell: str, files: dict[str, Path]) -> None:
    assert render(shell) == files[shell].read_text()
