"""Pin the requirements with hashes: what runs, tests, draws, Go, what a package holds and is built with, Ansible."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMON = (
    *("uv", "pip", "compile", "--quiet", "--generate-hashes"),
    *("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--upgrade"),
)
EVERYWHERE = ("--universal", "--python-version", "3.11")
DEBIAN_13 = ("--python-version", "3.13")
SETS = {
    "runtime.txt": ("pyproject.toml", "--extra", "dev", "--extra", "gpu", "--group", "build"),
    "test.txt": ("pyproject.toml", "--extra", "dev", "--extra", "gpu", "--group", "build", "--group", "test"),
    "bench.txt": ("--group", "bench", "--constraint", "requirements/test.txt"),
    "go.txt": ("--group", "go"),
    "package.txt": ("pyproject.toml", "--extra", "gpu", "--constraint", "requirements/runtime.txt"),
    "check.txt": ("--group", "check", "--constraint", "requirements/test.txt"),
    "ansible.txt": ("--group", "ansible", "--constraint", "requirements/test.txt"),
    "ansible-oldest.txt": ("--group", "ansible-oldest"),
    "ansible-newest.txt": ("--group", "ansible-newest"),
    "molecule.txt": ("--group", "molecule", "--constraint", "requirements/test.txt"),
    "build.txt": ("--group", "build", "--constraint", "requirements/runtime.txt"),
}


def main() -> None:
    """Write requirements/*.txt."""
    for name, arguments in SETS.items():
        output = ROOT / "requirements" / name
        where = DEBIAN_13 if name == "ansible-newest.txt" else EVERYWHERE
        subprocess.run([*COMMON, *where, *arguments, "--output-file", str(output)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
