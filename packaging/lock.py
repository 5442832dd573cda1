"""Pin the requirements with hashes: what runs, tests, draws, Go, what a package holds and is built with, Ansible."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMON = (
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-emit-index-url", "--no-emit-find-links", "--upgrade"),
)
SETS = {
    "runtime.txt": ("pyproject.toml", "--extra", "dev", "--extra", "gpu", "--group", "build"),
    "test.txt": ("pyproject.toml", "--extra", "dev", "--extra", "gpu", "--group", "build", "--group", "test"),
    "bench.txt": ("--group", "bench", "--constraint", "requirements/test.txt"),
    "go.txt": ("--group", "go"),
    "package.txt": ("pyproject.toml", "--extra", "gpu", "--constraint", "requirements/runtime.txt"),
    "check.txt": ("--group", "check", "--constraint", "requirements/test.txt"),
    "ansible.txt": ("--group", "ansible", "--constraint", "requirements/test.txt"),
    "molecule.txt": ("--group", "molecule", "--constraint", "requirements/test.txt"),
    "build.txt": ("--group", "build", "--constraint", "requirements/runtime.txt"),
}


def main() -> None:
    """Write requirements/*.txt."""
    for name, arguments in SETS.items():
        output = ROOT / "requirements" / name
        subprocess.run([*COMMON, *arguments, "--output-file", str(output)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
