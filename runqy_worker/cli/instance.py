"""`runqy-worker instance`: add, list, look at and remove this host's instances."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.cli.parsing import add_verb, add_verbs
from runqy_worker.config.catalog import SETTINGS
from runqy_worker.config.suggestions import nearest
from runqy_worker.service import systemctl
from runqy_worker.service.exit_codes import ExitCode
from runqy_worker.service.instances.places import CREDENTIALS, NAME_RULE, Places, check_name, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.service.instances.places import InstancePlaces

_GPU = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+\Z", re.ASCII)

_ADD = f"""\
Writes the instance's files, which may be edited by hand afterwards: its settings and its environment variables in
/etc/runqy-worker/instances, its secrets in systemd's credential store, and what its unit needs for GPUs. Nothing is
written unless all of it is right, which is checked as `runqy-worker validate` does; nothing is asked.

NAME is {NAME_RULE}. It names the unit, runqy-worker@NAME.service."""

_ADD_EPILOG = """\
Exit codes: 0 added, 1 it is there already or systemd refused, 64 wrong arguments, 77 not allowed (be root),
78 the settings or a secret can't be used.

examples:
  runqy-worker instance add inference --server-url https://runqy.example.com --api-key-file key --enable --start
  runqy-worker instance add gpu --api-key-file - --device cuda --set worker.shutdown_timeout=30m < key"""

_REMOVE = """\
Removes the instance's files: settings, variables, secrets and what changes its unit. What it wrote itself (deployed
releases, caches, logs) stays unless --purge-data is given. One that runs is left alone unless --stop is given."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the commands about instances."""
    verbs = add_verbs(parser)
    _configure_add(_verb(verbs, "add", "add an instance", _add))
    _verb(verbs, "list", "list the instances", _list, aliases=["ls"]).add_argument(
        "--json", action="store_true", help="print JSON"
    )
    show = _verb(verbs, "show", "show the files and the state of an instance", _show)
    show.add_argument("name", metavar="NAME", type=_name, help="the instance")
    remove = _verb(verbs, "remove", "remove an instance", _remove, aliases=["rm"])
    remove.description = _REMOVE
    remove.add_argument("name", metavar="NAME", type=_name, help="the instance")
    remove.add_argument("--purge-data", action="store_true", help="remove what it wrote, too")
    remove.add_argument("--stop", action="store_true", help="stop it if it runs; its running tasks may end first")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    does: str,
    act: Callable[[argparse.Namespace], int],
    aliases: list[str] | None = None,
) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, does, aliases=aliases or [])
    verb.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="work on the files of a host that is made ready below DIR, such as an image; no systemd is asked (/)",
    )
    verb.set_defaults(run=run, act=act)
    return verb


def _configure_add(add: argparse.ArgumentParser) -> None:
    add.description = _ADD
    add.epilog = _ADD_EPILOG
    add.add_argument("name", metavar="NAME", type=_name, help="the instance")
    add.add_argument("--server-url", metavar="URL", help="the runqy server, unless the main file names it")
    add.add_argument("--api-key-file", metavar="FILE", help="file with the server's key; - for the standard input")
    add.add_argument("--queue", metavar="QUEUE", help="the queue to work on (NAME)")
    add.add_argument("--concurrency", type=values.positive, metavar="N", help="tasks in hand at once (1)")
    add.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="any other setting, such as deployment.python=3.11 (repeatable)",
    )
    add.add_argument(
        "--credential",
        action="append",
        default=[],
        type=_credential,
        metavar="NAME=FILE",
        help=f"another secret (repeatable): {', '.join(CREDENTIALS)}",
    )
    add.add_argument("--encrypt", action="store_true", help="encrypt the secrets to this host, with systemd-creds")
    add.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cpu, or cuda for NVIDIA GPUs (cpu)")
    add.add_argument(
        "--gpus", type=_gpus, default=(), metavar="UUID[,UUID]", help="the GPUs it may use, by UUID (all of them)"
    )
    add.add_argument("--force", action="store_true", help="replace an instance of this name, but for its secrets")
    add.add_argument("--enable", action="store_true", help="start it whenever the host starts")
    add.add_argument("--start", action="store_true", help="start it now, and wait until it is ready")


def run(args: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    args.root = args.root.absolute()
    try:
        return int(args.act(args))
    except OSError as error:
        hint = "; be root" if isinstance(error, PermissionError) else ""
        print(f"runqy-worker instance: {error.filename}: {error.strerror}{hint}", file=sys.stderr)
        return ExitCode.NOPERM if isinstance(error, PermissionError) else ExitCode.FAILURE


def _add(args: argparse.Namespace) -> int:
    from runqy_worker.service.instances.adding import Wish, add  # noqa: PLC0415 - yaml is not for `--help`
    from runqy_worker.service.instances.credentials import read_credential  # noqa: PLC0415 - likewise

    places = Places(args.root)
    wrong = _wrong_together(args, places)
    if wrong:
        print(f"runqy-worker instance add: {wrong}", file=sys.stderr)
        return ExitCode.USAGE
    sources = dict(args.credential)
    if args.api_key_file is not None:
        sources["api-key"] = args.api_key_file
    wish = Wish(
        values=_settings(args),
        credentials={name: read_credential(source) for name, source in sources.items()},
        cuda=args.device == "cuda",
        gpus=args.gpus,
        encrypt=args.encrypt,
        force=args.force,
    )
    instance = places.of(args.name)
    added = add(instance, wish)
    for warning in added.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for path in added.files:
        print(f"wrote {path}")
    for path in added.removed:
        print(f"removed {path}")
    _tell_systemd(args, instance)
    return ExitCode.OK


def _tell_systemd(args: argparse.Namespace, places: InstancePlaces) -> None:
    """Let systemd know, do what was asked of it, and say what comes next."""
    unit = unit_of(places.name)
    if not places.host.is_this_host:
        if args.enable:
            systemctl.tell(f"--root={args.root}", "enable", unit)
            print(f"enabled {unit}")
        return
    if not systemctl.is_booted():
        print(f"systemd does not run here; next: runqy-worker run --instance {places.name}")
        return
    systemctl.tell("daemon-reload")
    if args.enable:
        systemctl.tell("enable", unit)
        print(f"enabled {unit}")
    if args.start:
        systemctl.tell("restart" if args.force else "start", unit)
        print(f"started {unit}; next: systemctl status {unit}")
    else:
        print(f"next: systemctl start {unit}; if it does not start: runqy-worker doctor {places.name}")


def _settings(args: argparse.Namespace) -> dict[str, str]:
    queue = {} if any(key == "worker.queues" for key, _ in args.set) else {"worker.queue": args.queue or args.name}
    named = {"server.url": args.server_url, **queue, "worker.concurrency": args.concurrency}
    return {key: str(value) for key, value in named.items() if value is not None} | dict(args.set)


def _wrong_together(args: argparse.Namespace, places: Places) -> str:
    """What is wrong with the arguments as a whole; empty when nothing is."""
    if args.gpus and args.device != "cuda":
        return "--gpus: found it without --device cuda, expected both"
    if not places.is_this_host and (args.start or args.encrypt):
        flag = "--start" if args.start else "--encrypt"
        return f"{flag}: found it with --root, but it is about the host that runs this"
    if [args.api_key_file, *(source for _, source in args.credential)].count("-") > 1:
        return "-: found it twice, but the standard input holds one secret"
    if args.start and not systemctl.is_booted():
        return "--start: systemd does not run here"
    return ""


def _list(args: argparse.Namespace) -> int:
    from runqy_worker.cli.tables import as_json, table  # noqa: PLC0415 - msgspec is not for `--help`
    from runqy_worker.service.instances.looking import look_at  # noqa: PLC0415 - nor is yaml

    places = Places(args.root)
    found = [look_at(places.of(name)) for name in places.names()]
    if args.json:
        print(as_json(found))
        return ExitCode.OK
    rows = [
        (
            *(each.name, each.queues, each.concurrency or "", each.device, each.enabled or "-", each.state or "-"),
            each.problem,
        )
        for each in found
    ]
    print(table(("NAME", "QUEUES", "CONCURRENCY", "DEVICE", "ENABLED", "STATE", "PROBLEM"), rows))
    return ExitCode.OK


def _show(args: argparse.Namespace) -> int:
    from runqy_worker.cli.tables import facts  # noqa: PLC0415 - msgspec is not for `--help`
    from runqy_worker.service.instances.looking import look_at  # noqa: PLC0415 - nor is yaml
    from runqy_worker.service.instances.removing import unknown  # noqa: PLC0415 - with this command only

    places = Places(args.root).of(args.name)
    if not places.settings.exists():
        raise unknown(places.host, args.name)
    info = look_at(places)
    print(
        facts(
            [
                ("unit", unit_of(info.name)),
                ("state", " ".join(filter(None, (info.state, info.enabled)))),
                ("queues", info.queues),
                ("concurrency", info.concurrency),
                ("device", info.device),
                ("credentials", info.credentials),
                ("problem", info.problem),
                *(("file", path) for path in places.files()),
                *(("data", path) for path in places.data if path.exists()),
            ]
        )
    )
    return ExitCode.OK


def _remove(args: argparse.Namespace) -> int:
    from runqy_worker.service.instances.removing import remove  # noqa: PLC0415 - with this command only

    removed = remove(Places(args.root).of(args.name), purge_data=args.purge_data, stop=args.stop)
    for path in removed.paths:
        print(f"removed {path}")
    for path in removed.kept:
        print(f"kept {path} (--purge-data removes it)")
    return ExitCode.OK


def _name(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected section.key=value")
    entry = SETTINGS.get(key)
    if entry is None:
        meant = nearest(key, SETTINGS)
        advice = f"; did you mean {meant}?" if meant else ""
        raise argparse.ArgumentTypeError(f"the setting {key!r} is not known{advice}")
    if entry.setting.secret:
        credential = entry.setting.credential
        flag = "--api-key-file" if credential == "api-key" else f"--credential {credential}="
        raise argparse.ArgumentTypeError(
            f"{key}: a secret on the command line can be seen by every user of this host; give its file: {flag}FILE"
        )
    return key, value


def _credential(text: str) -> tuple[str, str]:
    name, separator, source = text.partition("=")
    if not separator or not source:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected NAME=FILE")
    if name not in CREDENTIALS:
        raise argparse.ArgumentTypeError(
            f"the credential {name!r} is not known, expected one of {', '.join(CREDENTIALS)}"
        )
    return name, source


def _gpus(text: str) -> tuple[str, ...]:
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        if _GPU.match(each) is None:
            raise argparse.ArgumentTypeError(
                f"found {each!r}, expected a UUID such as GPU-5d5ba0d6-... (nvidia-smi -L)"
            )
    if not found:
        raise argparse.ArgumentTypeError("found none, expected UUIDs with commas (nvidia-smi -L)")
    return found
