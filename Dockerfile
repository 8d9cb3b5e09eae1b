# whatomate-gateway: an interpreter, its libraries, the gateway. No shell, no package manager; any uid; a read-only root will do.
#
#   docker build --tag whatomate-gateway .
#
# BASE is only built on: of it, the image holds what image/assemble.py takes. Pin it whole where you build for others:
#   --build-arg DIGEST=sha256:…
ARG BASE=python:3.11-slim-bookworm
ARG DIGEST=

FROM ${BASE}${DIGEST:+@${DIGEST}} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
# A C compiler for the gateway's own warm path; it stays behind in this stage.
# hadolint ignore=DL3008
RUN command -v cc >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev; }
COPY requirements-build.lock requirements-image.lock ./
# Every wheel once, each against its hash, and none of others' that would have to be compiled here.
RUN python3 -m venv tools \
 && tools/bin/pip install --quiet --require-hashes --only-binary :all: --no-deps -r requirements-build.lock \
 && tools/bin/pip wheel --quiet --require-hashes --only-binary :all: --no-deps -r requirements-image.lock --wheel-dir wheels
COPY pyproject.toml README.md LICENSE ./
COPY authcore authcore
COPY config config
COPY gateway gateway
# The compiler checks types, so it has to see the libraries' (docs/decisions.md: the warm path may be compiled).
RUN tools/bin/pip install --quiet --no-index --no-deps wheels/*.whl \
 && mkdir mypyc \
 && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 HATCH_MYPYC_BUILD_DIR=/build/mypyc PYTHONHASHSEED=0 LDFLAGS=-Wl,--strip-all \
    CFLAGS="-g0 -DNDEBUG -fvisibility=hidden -fno-semantic-interposition -fno-plt" \
    tools/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir wheels . \
 && python3 -m venv --without-pip /opt/gateway \
 && tools/bin/pip --python /opt/gateway/bin/python install --quiet --no-index --no-deps --no-compile wheels/*.whl
COPY image/assemble.py image/
RUN python3 image/assemble.py /opt/gateway /image

FROM scratch
ARG BASE
ARG DIGEST
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="whatomate-gateway" \
      org.opencontainers.image.description="Authenticating HTTP gateway for Whatomate and the services around it" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="README.md and docs/ of the source at this revision" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${DIGEST}"
COPY --from=build /image/ /
# Inside a container the admin listener is reached by probes and scrapes; publish 8080 and not 8081.
ENV PATH=/opt/gateway/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    GATEWAY_ADMIN_LISTEN=0.0.0.0:8081
WORKDIR /
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/opt/gateway/bin/whatomate-gateway", "health"]
ENTRYPOINT ["/opt/gateway/bin/whatomate-gateway"]
CMD ["serve"]
