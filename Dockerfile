# gemma-audio in a container: the wheel of scripts/wheel on a slim Python. How to use it: docs/INSTALL.md.
#
#   docker build -t gemma-audio .
#   docker run --rm -v "$PWD:/work" gemma-audio transcribe talk.wav
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
RUN sh scripts/wheel ggml
COPY . .
RUN sh scripts/wheel

# ---- what is shipped: no compiler, no sources ----
FROM python:${PYTHON}
RUN --mount=type=bind,from=build,source=/src/dist,target=/dist \
    pip install --no-cache-dir /dist/*.whl
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
