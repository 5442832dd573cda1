"""Each bad input gets an error that names the place, the key, the value and what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from unit.config.conftest import Desk

NEEDED = "server: {url: 'http://localhost:8081', api_key: k}\n"
"""Line 1 of most files here."""


CASES = [
    # wrong kinds and bounds
    (
        "worker: {queue: a, concurrency: zero}",
        'worker.concurrency: found "zero", expected a whole number from 1 to 10000',
    ),
    ("worker: {queue: a, concurrency: 0}", 'worker.concurrency: found "0", expected a whole number from 1 to 10000'),
    ("worker: {queue: a, concurrency: 10001}", 'worker.concurrency: found "10001", expected a whole number from 1 to'),
    ("worker: {queue: a, concurrency: 1.5}", 'worker.concurrency: found "1.5", expected a whole number'),
    ("worker: {queue: a, concurrency: [1]}", "worker.concurrency: found a list, expected a whole number"),
    ("worker: {queue: [a]}", "worker.queue: found a list, expected a text"),
    ("worker: {queue: {name: a}}", "worker.queue: found a mapping, expected a text"),
    ("worker: {queues: {a: 1}}", "worker.queues: found a mapping, expected a list, or a text with commas"),
    ("worker: {queues: [a, [b]]}", "worker.queues: found a list, expected a text as item of the list"),
    ("worker: {queues: [a, ]}\ngit: {timeout: [1s]}", "git.timeout: found a list, expected a duration such as 30s"),
    ("worker: {queues: [a, ~]}", "worker.queues: found nothing, expected a text as item of the list"),
    (
        "worker: {queue: a, shutdown_timeout: soon}",
        'worker.shutdown_timeout: found "soon", expected a duration such as',
    ),
    ("worker: {queue: a, shutdown_timeout: -1s}", 'worker.shutdown_timeout: found "-1s", expected a duration such as'),
    ("worker: {queue: a, strict_priority: maybe}", 'worker.strict_priority: found "maybe", expected true or false'),
    ("worker: {queue: !secret a}", "worker.queue: found the tag !secret, expected a text"),
    ("worker: {queue: a}\nprocess: {max_line: 12}", 'process.max_line: found "12", expected a size such as 64MiB'),
    ("worker: {queue: a}\nprocess: {max_line: big}", 'process.max_line: found "big", expected a size such as 64MiB or'),
    (
        "worker: {queue: a}\nrecovery: {backoff_factor: .nan}",
        'recovery.backoff_factor: found ".nan", expected a number',
    ),
    ("worker: {queue: a}\nrecovery: {backoff_factor: inf}", 'recovery.backoff_factor: found "inf", expected a number'),
    ("worker: {queue: a}\nrecovery: {backoff_factor: 0.5}", "expected a number of at least 1"),
    ("worker: {queue: a}\nlog: {level: loud}", 'log.level: found "loud", expected one of debug, info, warning, error'),
    ("worker: {queue: a}\nredis: {db: -1}", 'redis.db: found "-1", expected a whole number of at least 0'),
    ("worker: inference", 'worker: found "inference", expected a section'),
    ("worker: {queue: a}\ngit: [token]", "git: found a list, expected a section"),
    # unknown names
    ("worker: {quue: a}", "the key worker.quue is not known; did you mean worker.queue?"),
    ("worker: {queue: a, max_retry: 3}", "the key worker.max_retry is not known; did you mean retry.max_retry?"),
    ("worker: {queue: a, xyzzy: 3}", "the key worker.xyzzy is not known; known keys of worker: queue, queues, "),
    (
        "worker: {queue: a}\nrecovery: {cooldown: 1m}",
        "recovery.cooldown is not known; did you mean recovery.cooldown_per",
    ),
    ("worker: {queue: a}\nretries: {max_retry: 1}", "the section retries is not known; did you mean "),
    ("queue: a", "the section queue is not known; did you mean worker.queue?"),
    ("worker: {queue: a}\nxyzzy: 1", "the section xyzzy is not known; known sections: server, worker, "),
    ("worker: {queue: a}\n? [x]\n: 1", "?: found a list as a key, expected a name"),
    # repeats
    ("worker: {queue: a}\nworker: {queue: b}", "worker: found it again (first on line 2), expected it once"),
    ("worker:\n  queue: a\n  queue: b", "worker.queue: found it again (first on line 3), expected it once"),
    # queues
    (
        "worker: {queue: a, queues: [b]}",
        "worker.queues: found both this and worker.queue (config.yml:2), expected only",
    ),
    ("worker: {queue: 'a b'}", 'worker.queue: found "a b", expected a queue name such as inference'),
    ("worker: {queue: 'a,b'}", "at most 128; several queues go into worker.queues"),
    ("worker: {queue: 'a.'}", 'worker.queue: found "a.", expected a queue name'),
    ("worker: {queues: [a, '-b']}", 'worker.queues: found "-b", expected a queue name'),
    ("worker: {queues: [a.high, a]}", 'found "a.high" beside its parent "a", expected either the parent, which stands'),
    ("worker: {queues: [a, 'a:low']}", 'found "a:low" beside its parent "a", expected either the parent, which stands'),
    ("worker: {queues: [a.low, 'a:low']}", 'found "a:low", which means the same as "a.low" (config.yml:2), expected'),
    # the server
    ("worker: {queue: a}\nserver: {url: 'ftp://h', api_key: k}", 'server.url: found "ftp://h", expected a URL such as'),
    # settings that must agree
    (
        "worker: {queue: a}\nrecovery: {initial_delay: 10m}",
        "recovery.initial_delay: found 10m, expected at most recovery.max_delay, which is 5m",
    ),
    (
        "worker: {queue: a}\nrecovery: {max_delay: 500ms}",
        "recovery.max_delay: found 500ms, expected at least recovery.initial_delay, which is 1s",
    ),
    (
        "worker: {queue: a}\nlease: {renew_every: 7s}",
        "lease.renew_every: found 7s, expected renewals (lease.renew_every, 7s) at least twice in lease.duration (12s)",
    ),
    ("worker: {queue: a}\nlease: {duration: 5s}", "lease.duration: found 5s, expected renewals"),
    (
        "worker: {queue: a, concurrency: 2}\nprocess: {standby: 3}",
        'process.standby: found "3", expected auto, or a whole number from 0 to worker.concurrency, which is 2',
    ),
    ("worker: {queue: a}\nprocess: {standby: lots}", 'process.standby: found "lots", expected auto, or a whole number'),
    ("worker: {queue: a}\nprocess: {standby: -1}", 'process.standby: found "-1", expected auto'),
    ("worker: {queue: a}\ndeployment: {python: 3.7}", 'deployment.python: found "3.7", expected Python 3.8 or newer'),
    ("worker: {queue: a}\nserver2: {}\nredis: {addr: localhost}", 'redis.addr: found "localhost", expected host:port'),
    ("worker: {queue: a}\nredis: {addr: 'h:0'}", 'redis.addr: found "h:0", expected host:port'),
    ("worker: {queue: a}\nredis: {addr: 'h:70000'}", 'redis.addr: found "h:70000", expected host:port'),
    ("worker: {queue: a}\nredis: {addr: '::1:6379'}", 'redis.addr: found "::1:6379", expected host:port'),
    ("worker: {queue: a}\nredis: {addr: 'redis://h:1'}", "unix socket; password, db and tls have their own settings"),
    (
        "worker: {queue: a}\nredis: {sentinel_master: m}",
        'redis.sentinel_master: found "m" without redis.sentinel_addrs',
    ),
    (
        "worker: {queue: a}\nredis: {sentinel_addrs: ['h:1']}",
        "redis.sentinel_addrs: found it without redis.sentinel_ma",
    ),
    (
        "worker: {queue: a}\nredis: {sentinel_addrs: ['h:1', h], sentinel_master: m}",
        'redis.sentinel_addrs: found "h", expected host:port of a Sentinel',
    ),
    (
        "worker: {queue: a}\nredis: {sentinel_addrs: ['h:1'], sentinel_master: m, addr: 'h:2'}",
        "redis.addr: found it beside redis.sentinel_addrs (config.yml:3), expected only one of the two",
    ),
    ("worker: {queue: a}\nredis: {ca_file: /ca}", 'redis.ca_file: found "/ca" without TLS, expected redis.tls: true'),
    (
        "worker: {queue: a}\nredis: {tls: on, cert_file: /c}",
        'redis.cert_file: found "/c", expected redis.key_file with',
    ),
    ("worker: {queue: a}\nredis: {tls: on, key_file: /k}", 'redis.key_file: found "/k", expected redis.cert_file with'),
    (
        "worker: {queue: a}\nredis: {tls: on, addr: /s}",
        'redis.tls: found true for the unix socket "/s", expected no TLS',
    ),
    ("worker: {queue: a}\ndeployment: {index_url: here}", 'deployment.index_url: found "here", expected a URL such as'),
    (
        "worker: {queue: a}\ndeployment: {extra_index_urls: [x]}",
        'deployment.extra_index_urls: found "x", expected a URL',
    ),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[expected[:50] for _, expected in CASES])
def test_a_bad_file_is_explained(desk: Desk, text: str, expected: str) -> None:
    problems = desk.problems((NEEDED if "server: {" not in text else "\n") + text)
    matching = [problem for problem in problems if expected in problem]
    assert matching, problems
    assert matching[0].startswith("config.yml:")
    assert matching[0].split(":")[1].isdigit()


def test_the_line_is_that_of_the_value(desk: Desk) -> None:
    problems = desk.problems(
        """\
        server:
          url: http://localhost:8081
          api_key: k

        worker:
          queues:
            - inference
            - bad name
            - inference.high
          concurrency: many
        """
    )
    assert [problem.partition(" ")[0] for problem in problems] == ["config.yml:10:", "config.yml:8:", "config.yml:9:"]


def test_all_problems_come_at_once_and_none_follows_from_another(desk: Desk) -> None:
    problems = desk.problems(
        """\
        server: {url: nowhere, apikey: x}
        worker: {queue: [a], concurrency: x}
        recovery: {initial_delay: x, max_delay: 1s}
        """,
        {"RUNQY_MAX_RETRY": "many", "RUNQY_QUEUE": "a"},
        flags={"worker.shutdown_timeout": "soon"},
    )
    assert [problem.split(": found")[0].split(" is not")[0] for problem in problems] == [
        "config.yml:1: the key server.apikey",
        "config.yml:2: worker.queue",
        "config.yml:2: worker.concurrency",
        "config.yml:3: recovery.initial_delay",
        "RUNQY_MAX_RETRY: retry.max_retry",
        "RUNQY_QUEUE: the variable",
        "--shutdown-timeout: worker.shutdown_timeout",
        "config.yml:1: server.url",
    ]


def test_a_bad_variable_is_explained(desk: Desk, enough: dict[str, str]) -> None:
    assert desk.problems(environ={**enough, "RUNQY_CONCURRENCY": "x", "RUNQY_QUEUES": "a b"}) == [
        'RUNQY_CONCURRENCY: worker.concurrency: found "x", expected a whole number from 1 to 10000',
        (
            'RUNQY_QUEUES: worker.queues: found "a b", expected a queue name such as inference or inference.high: '
            "letters, digits and . _ - :, at most 128"
        ),
    ]


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("RUNQY_QUEUE", "RUNQY_QUEUES"),
        ("RUNQY_WORKER_CONCURRENCY", "RUNQY_CONCURRENCY"),
        ("RUNQY_WORKER_QUEUES", "RUNQY_QUEUES"),
        ("RUNQY_DEPLOY_DIR", "RUNQY_DEPLOYMENT_DIR"),
        ("RUNQY_CONCURENCY", "RUNQY_CONCURRENCY"),
    ],
)
def test_a_misspelt_variable_names_the_right_one(desk: Desk, enough: dict[str, str], unknown: str, meant: str) -> None:
    environ = {**enough, unknown: "1"}
    expected = f"{unknown}: the variable is not known; did you mean {meant}?"
    assert desk.problems(environ=environ) == [expected]
    assert desk.load(environ=environ, allow_unknown=True).warnings == (expected,)


@pytest.mark.parametrize(
    "foreign", ["RUNQY_WORKER_API_KEY", "RUNQY_CLIENT_API_KEY", "RUNQY_VAULT_MASTER_KEY", "RUNQY_MAX_BODY_SIZE"]
)
def test_variables_of_the_server_on_the_same_host_are_let_be(desk: Desk, enough: dict[str, str], foreign: str) -> None:
    assert desk.load(environ={**enough, foreign: "1"}).warnings == ()


def test_unknown_keys_can_be_allowed_for_a_migration(desk: Desk, enough: dict[str, str]) -> None:
    loaded = desk.load("worker: {colour: red, concurrency: 2}\nold: {a: 1}\n", enough, allow_unknown=True)
    assert loaded.config.worker.concurrency == 2
    assert [warning.split(";")[0].partition(": ")[2] for warning in loaded.warnings] == [
        "the key worker.colour is not known",
        "the section old is not known",
    ]


def test_what_is_missing_is_named_with_all_ways_to_give_it(desk: Desk) -> None:
    assert desk.problems() == [
        (
            "configuration: server.url: missing, expected the URL of the runqy server (or RUNQY_SERVER_URL), "
            "unless local.queues_file is set"
        ),
        (
            "configuration: server.api_key: missing, expected the server's key (or server.api_key_file, RUNQY_API_KEY, "
            "the credential api-key), unless local.queues_file is set"
        ),
        "configuration: worker.queue: missing, expected a queue to work on (or worker.queues, RUNQY_QUEUES)",
    ]
    assert desk.problems("worker: {queue: ''}")[2].startswith("config.yml: worker.queue: missing")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("worker:\n\tqueue: a\n", "config.yml:2:1: not valid YAML: a tab is used for indentation; expected spaces"),
        ("worker: [a\n", "config.yml:2:1: not valid YAML: "),
        ("worker: {queue: a\nserver: b", "config.yml:2:7: not valid YAML: "),
        ("a: b: c", "config.yml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: *b", "config.yml:1:4: not valid YAML: found undefined alias 'b'"),
        ("a: {}\n---\nb: {}", "config.yml:2:1: not valid YAML: "),
        ("git:\n  <<: text\n", "config.yml:2:7: not valid YAML: "),
        ("- a\n- b\n", "config.yml:1: found a list at the top, expected sections such as `worker:`"),
        ("hello", "config.yml:1: found a text at the top, expected sections such as `worker:`"),
        ("a: 1\nb: \x01", "config.yml:2: the character U+0001 is not allowed in YAML"),
        ("[" * 5000, "config.yml: is nested too deeply"),
    ],
)
def test_a_file_that_is_no_configuration_is_the_only_problem(desk: Desk, content: str, expected: str) -> None:
    desk.main.write_text(content, encoding="utf-8")
    problems = desk.problems()
    assert len(problems) == 1
    assert problems[0].startswith(expected)


def test_a_syntax_error_shows_nothing_of_the_file(desk: Desk) -> None:
    assert "hunter2" not in "".join(desk.problems('server: {api_key: "hunter2}\n'))


def test_text_in_another_encoding_is_located(desk: Desk) -> None:
    desk.main.write_bytes(b"worker:\n  queue: gr\xfcn\n")
    assert desk.problems() == ["config.yml:2: byte 0xfc is not UTF-8; expected UTF-8 text"]


def test_a_named_file_that_is_missing_is_an_error_though_variables_would_suffice(
    desk: Desk, enough: dict[str, str]
) -> None:
    from runqy_worker.config.loading import load_config  # noqa: PLC0415 - the plain form, just here

    with pytest.raises(ConfigError) as caught:
        load_config(desk.root / "nowhere.yml", environ=enough)
    assert caught.value.problems == (
        f"{desk.root}/nowhere.yml: cannot be read: No such file or directory; expected a YAML file",
    )


def test_a_directory_is_no_file(desk: Desk, enough: dict[str, str]) -> None:
    desk.main.mkdir()
    assert desk.problems(environ=enough) == ["config.yml: cannot be read: Is a directory; expected a YAML file"]


def test_a_named_instance_without_a_fragment_is_an_error(desk: Desk, enough: dict[str, str]) -> None:
    assert desk.problems("", enough, instance="gpu") == [
        '--instance: found "gpu", but there is no instances/gpu.yml; instances there: none'
    ]


@pytest.mark.parametrize("name", ["../secrets", "a/b", "", ".."])
def test_an_instance_name_cannot_leave_the_directory(desk: Desk, enough: dict[str, str], name: str) -> None:
    problems = desk.problems("", enough, instance=name)
    assert problems == [f'--instance: found "{name}", expected letters, digits and . _ : @ -']


def test_a_long_value_is_shortened(desk: Desk, enough: dict[str, str]) -> None:
    (problem,) = desk.problems("worker: {concurrency: " + "x" * 500 + "}", enough)
    assert len(problem) < 200


@pytest.mark.parametrize("url", ["http://user:hunter2@localhost:8081", "user:hunter2@localhost", "http://hunter2@h"])
def test_a_server_url_with_credentials_is_refused_and_not_shown(desk: Desk, enough: dict[str, str], url: str) -> None:
    (problem,) = desk.problems(environ={**enough, "RUNQY_SERVER_URL": url})
    assert problem.startswith("RUNQY_SERVER_URL: server.url: found ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "text",
    [
        "server: {api_key: [hunter2]}",
        "server: {api_key: !x hunter2}",
        "server: {api_key: 'hunter2 '}",
        "server: {api_key: '${hunter2'}",
        "server: {proxy: 'u:hunter2@h'}",
        "redis: {addr: 'redis://:hunter2@h:1'}",
        "redis: {sentinel_addrs: ['x:hunter2@h:1'], sentinel_master: m}",
        "deployment: {index_url: 'https://u:hunter2@h/simple'}",
        "deployment: {index_url: 'u:hunter2@h/simple'}",
        "server: {api_key: hunter2, api_key: hunter2}",
        "worker: hunter2@x://a:hunter2@",
    ],
)
def test_no_secret_is_shown_in_a_problem(desk: Desk, enough: dict[str, str], text: str) -> None:
    environ = {name: value for name, value in enough.items() if name != "RUNQY_API_KEY"}
    problems = desk.problems(text, environ)
    shown = "\n".join(problems)
    assert "hunter2" not in shown.replace('worker: found "hunter2@x', "")
    assert any(key in shown for key in ("api_key", "proxy", "addr", "index_url", "worker"))


@pytest.mark.parametrize("addr", ["localhost:6379", "10.0.0.1:6379", "[::1]:6379", "/run/redis.sock", "a-b.c_d:1"])
def test_good_redis_addresses_pass(desk: Desk, enough: dict[str, str], addr: str) -> None:
    assert desk.load(environ={**enough, "RUNQY_REDIS_ADDR": addr}).config.redis.addr == addr


@pytest.mark.parametrize("python", ["3.8", "3", "3.13.1", "/opt/python/bin/python3", "python3.9", "pypy3"])
def test_good_interpreters_pass(desk: Desk, enough: dict[str, str], python: str) -> None:
    assert desk.load(environ={**enough, "RUNQY_DEPLOYMENT_PYTHON": python}).config.deployment.python == python


def test_sub_queues_of_one_parent_may_stand_beside_each_other(desk: Desk, enough: dict[str, str]) -> None:
    queues = "a.high,a.low,ab,a:mid,a.high"
    assert desk.load(environ={**enough, "RUNQY_QUEUES": queues}).config.queues == ("a.high", "a.low", "ab", "a:mid")
