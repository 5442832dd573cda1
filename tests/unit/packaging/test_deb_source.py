"""What a Debian package is made from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from deb_chroot import build_depends
from deb_source import RELEASES, ROOT, source
from deb_wheels import SERIES
from support.tools import needed

from runqy_worker.config.catalog import SETTINGS
from runqy_worker.config.loading import load_with_origins
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = (ROOT / "debian/changelog").read_text()


def test_the_changelog_begins_with_the_version_of_the_program() -> None:
    assert CHANGELOG.startswith(f"runqy-worker ({__version__}) ")


def test_every_suite_has_a_python_and_a_release() -> None:
    assert SERIES.keys() == RELEASES.keys()


@pytest.mark.parametrize("suite", RELEASES)
def test_a_tree_has_all_that_is_needed_and_says_what_it_is(suite: str, tmp_path: Path) -> None:
    needed("git", "apt-get install git")
    tree = tmp_path / "tree"
    wanted = source(suite, "3")
    wanted.copy(tree)
    version = f"{__version__}+deb{RELEASES[suite]}.3"
    assert wanted.version == version
    head = (tree / "debian/changelog").read_text()
    assert head.startswith(f"runqy-worker ({version}) {suite}; urgency=medium\n")
    assert re.search(rf"^ -- .*>  {re.escape(wanted.date)}$", head, re.MULTILINE)
    assert f'COMMIT = "{wanted.commit}"' in (tree / "runqy_worker/_build.py").read_text()
    for part in ("debian/rules", "systemd", "docs/operations.md", "requirements/package.txt", "LICENSE"):
        assert (tree / part).exists(), part


def test_builds_are_told_apart_by_version_and_suite_only() -> None:
    needed("git", "apt-get install git")
    assert source("bookworm").digest() == source("bookworm").digest()
    assert len({source("bookworm").digest(), source("bookworm", "1").digest(), source("trixie").digest()}) == 3


def test_build_dependencies_are_read_from_debian_control() -> None:
    control = "Build-Depends:\n debhelper-compat (= 13),\n dh-sequence-x,\n git <!nocheck>,\nStandards-Version: 1\n"
    assert build_depends(control) == ["debhelper", "debhelper", "git"]
    assert {"debhelper", "python3", "python3-pip"} <= set(build_depends((ROOT / "debian/control").read_text()))


def test_the_main_file_of_the_package_can_be_used_as_it_is_and_with_all_comments_taken_away(tmp_path: Path) -> None:
    shipped = ROOT / "packaging/config.yml"
    assert load_with_origins(shipped, environ={}, partial=True).warnings == ()
    bare = tmp_path / "config.yml"
    bare.write_text(re.sub(r"^#(\w|  )", r"\1", shipped.read_text(), flags=re.MULTILINE))
    config = load_with_origins(bare, environ={}, partial=True).config
    assert config.server.url
    assert config.worker.concurrency == SETTINGS["worker.concurrency"].default
