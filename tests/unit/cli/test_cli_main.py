"""The program's door: which command runs, what is imported for it, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.cli import main as door
from runqy_worker.cli.main import COMMANDS, main, translate
from runqy_worker.domain.errors import BackendUnavailableError, ConfigError, ExecutorStartError
from runqy_worker.version import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Replacing = Callable[[Callable[[argparse.Namespace], int]], None]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ["run"]),
        (["--config", "c.yml", "--burst"], ["run", "--config", "c.yml", "--burst"]),
        (["-config", "c.yml"], ["run", "--config", "c.yml"]),
        (["-config=c.yml"], ["run", "--config=c.yml"]),
        (["-config", "c.yml", "-validate"], ["validate", "--config", "c.yml"]),
        (["--validate", "--config", "c.yml"], ["validate", "--config", "c.yml"]),
        (["-config", "c.yml", "-version"], ["version"]),
        (["--version"], ["version"]),
        (["run", "-config", "c.yml"], ["run", "--config", "c.yml"]),
        (["validate", "-config", "c.yml"], ["validate", "--config", "c.yml"]),
        (["config", "show", "--origin"], ["config", "show", "--origin"]),
        (["enqueue", "q", "-config"], ["enqueue", "q", "-config"]),
        (["--help"], ["--help"]),
        (["help"], ["--help"]),
        (["help", "queue", "ls"], ["queue", "ls", "--help"]),
        (["-h"], ["-h"]),
        (["--config", "c.yml", "--help"], ["run", "--config", "c.yml", "--help"]),
    ],
)
def test_the_command_may_be_implied_and_options_may_have_one_dash(argv: list[str], expected: list[str]) -> None:
    assert translate(argv) == expected


@given(st.lists(st.text()))
def test_translating_twice_changes_nothing_more(argv: list[str]) -> None:
    assert translate(translate(argv)) == translate(argv)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Replacing:
    """Replaces what `version` does."""

    def replace(run: Callable[[argparse.Namespace], int]) -> None:
        module = types.ModuleType("replaced")

        def configure(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--option")
            parser.set_defaults(run=run)

        module.__dict__["configure"] = configure
        monkeypatch.setitem(sys.modules, "runqy_worker.cli.version", module)

    return replace


def test_the_commands_own_code_is_passed_on(command: Replacing) -> None:
    command(lambda _args: 80)
    assert main(["version"]) == 80


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(_args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            BackendUnavailableError("redis at 127.0.0.1:1 refuses connections"),
            69,
            "runqy-worker: redis at 127.0.0.1:1 refuses connections\n",
        ),
        (
            ConfigError(("c.yml:3: queu: unknown key", "concurrency: found 0")),
            78,
            "runqy-worker: the configuration can't be used:\n  c.yml:3: queu: unknown key\n  concurrency: found 0\n",
        ),
        (
            ExecutorStartError("main.py did not become ready", output=("Traceback:", "\x1b[2Jno module x")),
            75,
            "runqy-worker: main.py did not become ready\n  | Traceback:\n  | \\x1b[2Jno module x\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_known_error_is_one_clear_message(
    command: Replacing,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    command(raising(error))
    assert main(["version"]) == code
    assert capsys.readouterr().err == text


def test_an_unexpected_error_shows_where(command: Replacing, capsys: pytest.CaptureFixture[str]) -> None:
    command(raising(ValueError("surprise")))
    assert main(["version"]) == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("runqy-worker: this is a fault of the program: ValueError('surprise')\n")


@pytest.mark.parametrize("argv", [["nonsense"], ["version", "--nonsense"], ["version", "--opt", "x"]])
def test_wrong_arguments_exit_with_64(
    command: Replacing,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
) -> None:
    command(lambda _args: 0)
    assert main(argv) == 64
    assert "--help` explains" in capsys.readouterr().err


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown for name in COMMANDS)
    assert "78 the configuration can't be used" in shown


def test_the_whole_parser_can_be_built() -> None:
    text = door.build_parser().format_help()
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: runqy-worker {name}" in capsys.readouterr().out


def test_version_says_which_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"runqy-worker {__version__} (commit ")
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == __version__


HEAVY = {"redis", "requests", "yaml", "psutil", "asyncio", "msgspec"}


@pytest.mark.parametrize(
    ("argv", "allowed"),
    [
        (["version"], set()),
        (["--help"], set()),
        (["run", "--help"], {"asyncio"}),
        (["validate", "--help"], {"yaml", "asyncio"}),
        (["dev", "--help"], {"asyncio"}),
    ],
)
def test_only_what_the_command_needs_is_imported(argv: list[str], allowed: set[str]) -> None:
    program = (
        "import json, sys; from runqy_worker.cli.main import main\n"
        f"code = main({argv!r})\n"
        "print(); print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert HEAVY.intersection(modules) <= allowed


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runqy_worker", "-version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("runqy-worker ")
    done = subprocess.run([sys.executable, "-m", "runqy_worker", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: runqy-worker ")


def test_a_reader_that_went_away_is_no_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "runqy_worker", "version"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141
