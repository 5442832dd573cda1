# The inference image: the worker on top of PyTorch and CUDA. From the root of the sources:
#   docker build --file packaging/docker/inference.Dockerfile --tag runqy-worker:inference .
# BASE is any image of Debian or Ubuntu with python3 on PATH, of whatever version: that one runs the task code, which sees
# what is installed in it. The daemon brings a Python of its own, which runs on glibc 2.17 and newer.
ARG BASE=pytorch/pytorch:2.1.0-cuda11.8-cudnn8-runtime

FROM ${BASE} AS builder
ARG COMMIT
ARG DATE
ARG SOURCE_DATE_EPOCH
# The daemon's Python. uv knows where it is to be had, and its hash; UV_PYTHON_DOWNLOADS_JSON_URL names another list.
ARG PYTHON=3.13
ARG UV_PYTHON_DOWNLOADS_JSON_URL
WORKDIR /build
COPY . .
RUN sed -n '/^uv==/,/^    # via/p' requirements/test.txt >/tmp/uv.txt \
    && python3 -m venv /tmp/uv \
    && /tmp/uv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --requirement /tmp/uv.txt \
    && /tmp/uv/bin/uv python install --no-bin --no-cache --install-dir /opt/python "${PYTHON}" \
    && rm -rf /opt/python/.[a-z]*
RUN packaging/docker/build-environment.sh /opt/python/cpython-*.*.*/bin/python3 /opt/runqy-worker

FROM ${BASE}
COPY packaging/docker/prepare-base.sh /tmp/
RUN /tmp/prepare-base.sh && rm /tmp/prepare-base.sh
COPY --from=builder /tmp/uv/bin/uv /usr/local/bin/uv
COPY --from=builder /opt/python /opt/python
COPY --from=builder /opt/runqy-worker /opt/runqy-worker
COPY packaging/docker/healthcheck.py /usr/local/bin/healthcheck
RUN runqy-worker version

ARG VERSION=unknown
ARG COMMIT=unknown
ARG DATE=unknown
LABEL org.opencontainers.image.title="runqy-worker" \
    org.opencontainers.image.description="Queue worker daemon, with PyTorch and CUDA for its task code" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}-inference" \
    org.opencontainers.image.revision="${COMMIT}" \
    org.opencontainers.image.created="${DATE}"

# From here on as in the minimal image; the reasons are there.
WORKDIR /app
ENV HOME=/app/deployment RUNTIME_DIRECTORY=/run/runqy-worker/worker
USER 10001:0
ENTRYPOINT ["tini", "--", "runqy-worker"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["healthcheck"]
