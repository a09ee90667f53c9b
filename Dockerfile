# Two images from one file: `gateway` for the head and the HTTP side, without PyTorch; `engine` for GPU pods, with it.
#   docker build --target gateway -t uxo-serve-gateway:0.1.0 .
#   docker build --target engine -t uxo-serve-engine:0.1.0 .
# Any Debian with Python 3.11 or 3.12 as `python3`, its venv module and certificates will do; name a digest for builds that repeat.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS source
WORKDIR /srv/uxo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY deployments deployments
COPY models models
COPY loadtest loadtest

# Compiled once and never looked at again: copying between stages rounds the times of files, by which Python would take half
# of what pip compiled for outdated, and compile it anew in every process, for nobody can write here.
FROM source AS built-gateway
RUN python3 -m venv /opt/uxo \
 && /opt/uxo/bin/pip install --no-cache-dir --no-compile -c constraints.txt . \
 && /opt/uxo/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/uxo/lib

# One file among PyTorch's own tests is for newer Pythons and compiles in none of ours.
FROM source AS built-engine
RUN python3 -m venv /opt/uxo \
 && /opt/uxo/bin/pip install --no-cache-dir --no-compile -c constraints.txt '.[engine]' \
 && /opt/uxo/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/torch/testing/_internal/' /opt/uxo/lib

# What both images are but for their packages. Nobody in particular runs them, and only /tmp and /folder are written to.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS bare
ENV PATH=/opt/uxo/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    UXO_FOLDER=/folder \
    UXO_HOST=0.0.0.0
RUN install -d -o 10001 -g 10001 /folder \
 && echo 'uxo:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd
WORKDIR /srv/uxo
COPY serve_config.yaml ./
USER 10001:10001
EXPOSE 8000
CMD ["uxo", "run"]

FROM bare AS gateway
COPY --from=built-gateway /opt/uxo /opt/uxo

FROM bare AS engine
COPY --from=built-engine /opt/uxo /opt/uxo
