# One image for web, workers, beat and the mail door, and two that add to it:
#   docker build --target guanwecom .   the product
#   docker build --target charts .      and what draws charts, for workers of the queue "charts"
#   docker build --target snapshots .   and a Chromium, for workers of the queue "snapshots"
# They run as a user without rights on a root that may be read-only; /tmp alone is written to.
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS runtime
# hadolint ignore=DL3008  # Debian's stable release changes a package for its security only
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /tmp --shell /usr/sbin/nologin guanwecom \
    && install -d -o 10001 -m 700 /var/backups/guanwecom
COPY deploy/guanwecom /usr/local/bin/
WORKDIR /opt/guanwecom
ENV PATH=/opt/guanwecom/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
# Of web. Workers, beat and the mail door have no address: compose.yaml looks at their heartbeat in its place.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz/live', timeout=5)"]
CMD ["gunicorn", "guanwecom.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8", "--no-control-socket"]

# The guides, which web serves under /docs/: what builds them stays behind, too.
FROM runtime AS guides
# hadolint ignore=DL3002  # nothing runs in this stage
USER 0
# hadolint ignore=DL3008,DL3009  # as above; lists do not matter in a stage that stays behind
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
RUN python3 -m venv .venv
COPY requirements/dev.txt ./
RUN pip install --no-cache-dir --require-hashes -r dev.txt
COPY . ./
RUN python tools/catalogues.py compile && python -m tools.guides

# Everything that is needed to install: it stays behind.
FROM runtime AS build
# hadolint ignore=DL3002  # nothing runs in this stage
USER 0
# hadolint ignore=DL3008,DL3009  # as above; lists do not matter in a stage that stays behind
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
RUN python3 -m venv .venv
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . ./
# .git/HEAD is the commit, or names a branch, whose commit stands in a file of its own or among the packed ones.
RUN head="$(cat .git/HEAD 2>/dev/null || true)"; ref="${head#ref: }" \
    && if [ "$head" != "$ref" ]; then head="$(cat ".git/$ref" 2>/dev/null || sed -n "s|^\(.*\) $ref$|\1|p" .git/packed-refs)"; fi \
    && printf '%.7s\n' "$head" > guanwecom/COMMIT && rm -rf .git
# collectstatic asks the settings, which need values; these open nothing and are not kept.
RUN python tools/catalogues.py compile \
    && SECRET_KEY=invented-for-collectstatic-and-not-kept FIELD_ENCRYPTION_KEYS="$(python manage.py generate_key)" \
       DATABASE_URL=postgresql://build@/build VALKEY_URL=redis://build/0 \
       python manage.py collectstatic --noinput --verbosity 0 \
    && rm -rf docs tests tools requirements requirements.txt
COPY --from=guides /opt/guanwecom/docs/_build/html docs/_build/html

# Babel and pip are for installing only, and so are the sources of catalogues.
FROM build AS build-guanwecom
RUN pip uninstall --yes babel pip && find . -name '*.po' -delete && python -m compileall -q .

FROM build AS build-charts
COPY requirements/charts.txt ./
RUN pip install --no-cache-dir --require-hashes -r charts.txt && rm charts.txt \
    && pip uninstall --yes babel pip && find . -name '*.po' -delete && python -m compileall -q .

FROM build AS build-snapshots
COPY requirements/snapshots.txt ./
RUN pip install --no-cache-dir --require-hashes -r snapshots.txt && rm snapshots.txt \
    && pip uninstall --yes babel pip && find . -name '*.po' -delete && python -m compileall -q .

FROM runtime AS charts
COPY --from=build-charts /opt/guanwecom /opt/guanwecom

FROM runtime AS snapshots
USER 0
# hadolint ignore=DL3008  # as above
RUN apt-get update \
    && apt-get install -y --no-install-recommends chromium fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/*
USER 10001
COPY --from=build-snapshots /opt/guanwecom /opt/guanwecom

FROM runtime AS guanwecom
# pg_dump and pg_restore, of the version of the server or newer. Only this image makes backups.
USER 0
# hadolint ignore=DL3008  # as above
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
USER 10001
COPY --from=build-guanwecom /opt/guanwecom /opt/guanwecom
