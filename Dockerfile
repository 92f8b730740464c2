# Two images: `serve` (cut out and serve; 0.5 GB) and `export` (the same, and makes models from checkpoints).
#
#   make image TARGET=serve
#   docker run --rm --read-only --tmpfs /tmp --memory 2g --publish 127.0.0.1:7000:7000 \
#     --volume "$PWD/lite-onnx:/model:ro" birefnet-ort-serve:VERSION --model /model
#
# Their steps were tried in a Debian root; they were not built by Docker where this was written.
FROM python:3.13-slim AS source
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY models/birefnet_models models/birefnet_models
COPY runtime/birefnet_runtime runtime/birefnet_runtime
COPY runtime/birefnet_apps runtime/birefnet_apps
COPY export/birefnet_export export/birefnet_export
COPY benchmarks/birefnet_benchmarks benchmarks/birefnet_benchmarks
RUN python -m venv /opt/birefnet

FROM source AS installed-serve
RUN /opt/birefnet/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu,serve]'

FROM source AS installed-export
RUN /opt/birefnet/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu,serve,export]'

FROM python:3.13-slim AS base
RUN install --directory --owner 65534 --group 65534 /cache
ENV PATH=/opt/birefnet/bin:$PATH \
    BIREFNET_CACHE=/cache \
    HF_HOME=/cache/huggingface \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /cache
WORKDIR /work

FROM base AS export
COPY --from=installed-export /opt/birefnet /opt/birefnet
USER 65534:65534
ENTRYPOINT ["birefnet"]
CMD ["--help"]

FROM base AS serve
COPY --from=installed-serve /opt/birefnet /opt/birefnet
USER 65534:65534
# Each option is read from the environment: BIREFNET_SERVE_API_KEY_FILE, BIREFNET_SERVE_MODEL, ...
ENV BIREFNET_SERVE_HOST=0.0.0.0 \
    BIREFNET_SERVE_PORT=7000 \
    BIREFNET_SERVE_JSON_LOGS=1
EXPOSE 7000
HEALTHCHECK --start-period=60s --interval=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7000/ready', timeout=5)"]
# In the form of a list, so that SIGTERM reaches the server, which then answers what is in hand.
ENTRYPOINT ["birefnet", "serve"]
