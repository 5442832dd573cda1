#!/bin/sh
# The daemon's own environment, for both images: build-environment.sh PYTHON TARGET, in the root of the sources.
# Everything that is fetched is checked by the hashes in requirements/.
set -eu
python=$1
target=$2

if [ -n "${COMMIT:-}" ]; then
    printf '"""Which build this is."""\n\nCOMMIT = "%s"\nDATE = "%s"\n' "$COMMIT" "${DATE:-unknown}" >runqy_worker/_build.py
fi

"$python" -m venv /tmp/tools
pip() { /tmp/tools/bin/python -m pip --quiet --disable-pip-version-check --no-cache-dir "$@"; }
# setuptools builds the one dependency that comes without a wheel.
sed -n '/^setuptools==/,/^    # via/p' requirements/runtime.txt >/tmp/setuptools.txt
pip install --no-compile --require-hashes --requirement requirements/build.txt --requirement /tmp/setuptools.txt
pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels --require-hashes --requirement requirements/package.txt
pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels .

"$python" -m venv --without-pip "$target"
pip --python "$target/bin/python" install --no-compile --no-index --find-links /tmp/wheels 'runqy-worker[gpu]'
rm -rf "$target"/bin/[Aa]ctivate* "$target/share"
# Bytecode that goes with its source by content, not by time: two builds give the same files.
"$target/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$target/lib"
