# gemma-audio in a container: the wheel of scripts/wheel on a slim Python. How to use it: docs/INSTALL.md.
#
#   docker build -t gemma-audio .
#   docker run --rm -v "$PWD:/work" gemma-audio transcribe talk.wav
#
# The base is a tag, not a digest: it takes Debian's and Python's security fixes with each build, and the image is to be
# built anew (docker build --pull) at least once a month. For a build that can be repeated, name a digest:
#   docker build --build-arg PYTHON=3.13-slim-bookworm@sha256:... -t gemma-audio .
# Python packages are pinned by requirements/*.txt with their hashes.
ARG PYTHON=3.13-slim-bookworm

# ---- the wheel ----
FROM python:${PYTHON} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# ggml takes longest and depends on little: other changes leave this layer as it is.
COPY pyproject.toml ./
COPY scripts/wheel scripts/environment.sh scripts/build_wheel.py scripts/
COPY scripts/bundle scripts/bundle
COPY requirements requirements
COPY gemma_audio_cli/backends/amx.py gemma_audio_cli/backends/
RUN sh scripts/wheel ggml
COPY . .
RUN sh scripts/wheel

# ---- what is shipped: no compiler, no sources ----
FROM python:${PYTHON}
# Licences: most of what is installed is MIT, BSD or Apache; PyAV brings FFmpeg with x264 and x265 (GPL), soxr is LGPL.
# Who passes the image on answers for them: docs/INSTALL.md.
LABEL org.opencontainers.image.licenses="Apache-2.0 AND GPL-3.0-or-later AND LGPL-2.1-or-later AND MIT AND BSD-3-Clause"
RUN --mount=type=bind,from=build,source=/src/dist,target=/dist \
    --mount=type=bind,from=build,source=/src/requirements,target=/requirements \
    pip install --no-cache-dir --require-hashes --no-deps -r /requirements/image.txt \
    && pip install --no-cache-dir --no-deps /dist/*.whl
# Models and settings lie in /data, which may be a volume; recordings in /work. Both also serve other users (--user).
RUN useradd --create-home --uid 1000 gemma && install -d -m 1777 /data /work
ENV HF_HUB_CACHE=/data/models \
    GEMMA_AUDIO_CONFIG_DIR=/data/config \
    GEMMA_AUDIO_BACKENDS_DIR=/data/backends
USER gemma
VOLUME /data
WORKDIR /work
ENTRYPOINT ["gemma-audio"]
CMD ["--help"]
