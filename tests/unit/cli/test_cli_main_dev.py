"""Arguments that `dev` refuses before anything is started."""

from __future__ import annotations

import pytest

from runqy_worker.cli.main import main


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["/nowhere"], "/nowhere: is neither a directory nor a git address"),
        ([".", "--queue", "a.b"], "--queue: found 'a.b', expected letters, digits, _ and -"),
        ([".", "--concurrency", "0"], "--concurrency: found '0', expected a whole number, 1 or more"),
        ([".", "--payload", "{oops"], "--payload: found '{oops', which is not JSON"),
        (["https://example.org/x.git", "--watch"], "--watch: needs a directory, not a git address"),
        ([".", "--mode", "sometimes"], "argument --mode: invalid choice: 'sometimes'"),
        ([".", "--redis", "here"], "--redis: found 'here', expected host:port"),
        ([], "the following arguments are required: CODE"),
    ],
)
def test_wrong_arguments_are_named(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev", *argv]) == 64
    assert message in capsys.readouterr().err
