# The service in a container: no root, no compiler, nothing but the [serve] extra. docs/service.md shows how it is run.
# Both stages are made of BASE, which needs Python 3.11 or newer with venv, called `python`.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
ARG EXTRAS=serve
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
COPY examples ./examples
RUN python -m venv /opt/sound-groove \
 && /opt/sound-groove/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
RUN groupadd --gid 10001 groove \
 && useradd --uid 10001 --gid groove --no-create-home --shell /usr/sbin/nologin groove \
 && install --directory --owner groove --group groove --mode 0700 /var/lib/sound-groove
COPY --from=build /opt/sound-groove /opt/sound-groove
ENV PATH=/opt/sound-groove/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SOUND_GROOVE_STORE=/var/lib/sound-groove/voiceprints.db
USER 10001:10001
WORKDIR /var/lib/sound-groove
VOLUME /var/lib/sound-groove
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["sound-groove"]
CMD ["serve", "--host", "0.0.0.0", "--keys", "/var/lib/sound-groove/keys.json"]
