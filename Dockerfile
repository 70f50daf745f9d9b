# One image for each target; `operator` is operator and injector (charts/ says how), `tunnel` needs a configuration and certificates mounted, nothing else:
#     docker run --read-only --cap-drop ALL -v ./tunnel.yaml:/etc/tunnel/tunnel.yaml:ro -v ./certs:/etc/tunnel/certs:ro IMAGE run -c /etc/tunnel/tunnel.yaml

# Any image with Python 3.11 or newer and its venv module; both stages use the same one.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS tools
# The environments get no pip; this one, left behind here, installs into them.
RUN python3 -m venv /opt/pip
COPY tunnel/build.lock /src/
RUN /opt/pip/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /src/build.lock

FROM tools AS build
RUN python3 -m venv --without-pip /opt/tunnel && rm -rf /opt/tunnel/bin/[aA]ctivate* /opt/tunnel/include /opt/tunnel/.gitignore
COPY tunnel/requirements.lock /src/
RUN /opt/pip/bin/pip --python /opt/tunnel/bin/python install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /src/requirements.lock \
 && rm -f /opt/tunnel/bin/cffi-gen-src
COPY tunnel /src/tunnel
COPY scripts/healthcheck.py /opt/tunnel/healthcheck.py
# The root is read-only later, so that all byte code is made here.
RUN cd /src/tunnel && /opt/pip/bin/python -m hatchling build -t wheel -d /src/dist \
 && /opt/pip/bin/pip --python /opt/tunnel/bin/python install --quiet --no-cache-dir --disable-pip-version-check --no-index --no-deps /src/dist/*.whl \
 && /opt/tunnel/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/tunnel

FROM ${BASE} AS bare
# What installs software has no place in what runs; the standard library is compiled, as some bases ship it without.
RUN python3 -c "import glob, shutil, sysconfig as s; lib = s.get_path('stdlib'); \
[shutil.rmtree(p, True) for d in (lib, s.get_path('purelib'), '/usr/lib/python3', '/usr/share') for n in ('ensurepip', 'idlelib', 'turtledemo', 'test', 'pip', 'pip-*', 'python-wheels') for p in glob.glob(f'{d}/{n}')]" \
 && rm -f /usr/local/bin/pip* /usr/local/bin/idle* \
 && { python3 -m compileall -q --invalidation-mode unchecked-hash -x 'site-packages|lib2to3' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" || true; } \
 && rm -rf /tmp/* /var/cache/* /var/log/*

FROM bare AS tunnel
LABEL org.opencontainers.image.title="mtls-tunnel" \
      org.opencontainers.image.description="Mutual TLS for any TCP service, without a change to the application" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tunnel /opt/tunnel
# PYTHONSAFEPATH: nothing is imported from the directory that a container happens to start in.
ENV PATH=/opt/tunnel/bin:$PATH PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /etc/tunnel
USER 65532:65532
STOPSIGNAL SIGTERM
# Also true to the facts where `health` is off: then a bound listener is the proof.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/opt/tunnel/bin/python", "-I", "-S", "/opt/tunnel/healthcheck.py"]
ENTRYPOINT ["tunnel"]
CMD ["--help"]

FROM tools AS build-operator
RUN python3 -m venv --without-pip /opt/operator && rm -rf /opt/operator/bin/[aA]ctivate* /opt/operator/include /opt/operator/.gitignore
COPY operator/requirements.lock /src/
RUN /opt/pip/bin/pip --python /opt/operator/bin/python install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /src/requirements.lock
COPY tunnel /src/tunnel
COPY operator /src/operator
RUN for part in tunnel operator; do cd /src/$part && /opt/pip/bin/python -m hatchling build -t wheel -d /src/dist || exit 1; done \
 && /opt/pip/bin/pip --python /opt/operator/bin/python install --quiet --no-cache-dir --disable-pip-version-check --no-index --no-deps /src/dist/*.whl \
 && find /opt/operator/bin ! -type d ! -name 'python*' ! -name tunnel-operator -delete \
 && /opt/operator/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/operator

FROM bare AS operator
LABEL org.opencontainers.image.title="mtls-tunnel-operator" \
      org.opencontainers.image.description="Kubernetes operator and sidecar injector for mtls-tunnel" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-operator /opt/operator /opt/operator
ENV PATH=/opt/operator/bin:$PATH PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532
STOPSIGNAL SIGTERM
# No HEALTHCHECK: Kubernetes probes by itself, and asks better questions.
ENTRYPOINT ["tunnel-operator"]
CMD ["--help"]

# What is built where no target is named.
FROM tunnel
