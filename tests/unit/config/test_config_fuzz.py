"""Whatever a file holds, it loads or is explained; it never breaks the loader."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runqy_worker.config.catalog import SECTIONS, SETTINGS
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from unit.config.conftest import Desk

SAME_DESK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(alphabet=string.printable, max_size=12),
    st.sampled_from(["1h", "${X}", "${HOME:-x}", "64MiB", "a.b", "h:1", "https://u:p@h", "auto", "/x"]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=3), SCALARS, max_size=2))
NAMES = st.sampled_from([entry.name for entry in SETTINGS.values()])
FILES = st.dictionaries(st.sampled_from(list(SECTIONS)), st.one_of(st.dictionaries(NAMES, VALUES, max_size=5), VALUES))


def loads_or_is_explained(desk: Desk, text: str) -> None:
    desk.main.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        desk.load(check_files=False)
    except ConfigError as error:
        if not error.problems:
            pytest.fail("refused without a problem")


@SAME_DESK
@given(text=st.text(alphabet=string.printable + "é\x85\u2028\U0001f600"))
def test_any_text(desk: Desk, text: str) -> None:
    loads_or_is_explained(desk, text)


@SAME_DESK
@given(text=st.text(alphabet="worker:queue[]{}&*<!|>-#'\"\\%@`?, \n\t"))
def test_any_yaml_punctuation(desk: Desk, text: str) -> None:
    loads_or_is_explained(desk, text)


@SAME_DESK
@given(content=FILES)
def test_any_values_in_known_places(desk: Desk, content: object) -> None:
    loads_or_is_explained(desk, yaml.safe_dump(content, allow_unicode=True))


@SAME_DESK
@given(data=st.binary(max_size=60))
def test_any_bytes(desk: Desk, data: bytes) -> None:
    desk.main.write_bytes(data)
    with pytest.raises(ConfigError) as caught:  # at the least, no queue is named
        desk.load()
    assert all(problem.startswith(str(desk.root)) for problem in caught.value.problems)


@pytest.mark.parametrize(
    "text",
    ["worker: &a {<<: *a, queue: x}", "&a [*a]", "? {a: b}\n: c", "worker: &w\n  queue: *w", "&x worker: *x", "<<: 1"],
)
def test_odd_but_valid_yaml(desk: Desk, text: str) -> None:
    loads_or_is_explained(desk, text)
