"""Builds the container images with all their tags: `python packaging/images.py [--push] [minimal] [inference]`.

Needs Docker, and buildx where platforms are named. Nothing but the standard library, so any Python 3.11 runs it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
NAME = "ghcr.io/publikey/runqy-worker"
"""Where earlier documents say that the images are."""


@dataclass(frozen=True, slots=True)
class Image:
    """One of the images.

    Attributes:
        dockerfile: In packaging/docker.
        tags: What it is called; `{version}` is replaced.
    """

    dockerfile: str
    tags: tuple[str, ...]


IMAGES = {
    "minimal": Image("Dockerfile", ("latest", "minimal", "{version}", "{version}-minimal")),
    "inference": Image("inference.Dockerfile", ("inference", "{version}-inference")),
}


def main() -> int:
    """Build, and push where that was asked for; returns the exit code."""
    args = _parser().parse_args()
    arguments = {"VERSION": version(), **revision()} | ({"BASE": args.base} if args.base else {})
    for kind in args.kinds or IMAGES:
        tags = names(kind, args.name)
        for command in commands(kind, tags, arguments, args.platform, push=args.push):
            print(" ".join(command), flush=True)
            done = subprocess.run(command, cwd=ROOT, check=False)
            if done.returncode != 0:
                return done.returncode
        print(*tags, sep="\n", flush=True)
    return 0


def names(kind: str, name: str) -> list[str]:
    """All names of an image, tags included."""
    return [f"{name}:{tag.format(version=version())}" for tag in IMAGES[kind].tags]


def commands(
    kind: str, tags: Sequence[str], arguments: dict[str, str], platform: str, *, push: bool
) -> list[list[str]]:
    """What is run for one image.

    Args:
        kind: A key of `IMAGES`.
        tags: Its names.
        arguments: Build arguments.
        platform: Platforms with commas between them; empty for this machine's, without buildx.
        push: Whether the image goes to its registry.
    """
    build = ["docker", "buildx", "build", "--platform", platform] if platform else ["docker", "build"]
    if platform and push:
        build.append("--push")
    build += ["--file", f"packaging/docker/{IMAGES[kind].dockerfile}"]
    build += [word for tag in tags for word in ("--tag", tag)]
    build += [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    pushes = [["docker", "push", tag] for tag in tags] if push and not platform else []
    return [[*build, "."], *pushes]


def version() -> str:
    """Of the package in this checkout."""
    text = (ROOT / "runqy_worker" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SystemExit("runqy_worker/version.py does not name a version")
    return found[1]


def revision() -> dict[str, str]:
    """Commit and its date as build arguments; none where this is no checkout."""
    command = ["git", "log", "-1", "--format=%H %cI %ct"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {}
    commit, date, seconds = done.stdout.split()
    status = ["git", "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {"COMMIT": f"{commit}-dirty" if changed else commit, "DATE": date, "SOURCE_DATE_EPOCH": seconds}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the container images with all their tags.")
    parser.add_argument("kinds", nargs="*", type=_kind, metavar="KIND", help=f"{', '.join(IMAGES)}; all")
    parser.add_argument("--name", default=NAME, help=f"registry and name, without a tag ({NAME})")
    parser.add_argument("--base", default="", help="image to build from, instead of the one in the Dockerfile")
    parser.add_argument("--platform", default="", help="such as linux/amd64,linux/arm64; needs buildx")
    parser.add_argument("--push", action="store_true", help="push them")
    return parser


def _kind(text: str) -> str:
    if text not in IMAGES:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {' or '.join(IMAGES)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
