# A virtual environment with what the autoscaler needs, made before its code is copied, so that a
# change to the code reuses these layers. It has no pip of its own: the image's pip fills it.
FROM python:3.13-slim AS dependencies
LABEL org.opencontainers.image.title="temporal-docker-autoscaler"
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *project['optional-dependencies']['ssh'], sep='\n')" \
        > requirements.txt \
    && pip --python /opt/venv/bin/python install --constraint constraints.txt --requirement requirements.txt


FROM dependencies AS builder
RUN pip install --constraint constraints.txt hatchling
COPY README.md ./
COPY autoscaler autoscaler
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/venv/bin/python install --no-deps dist/*.whl


# The unit tests on this image's Python: docker run --rm IMAGE pytest tests/unit
FROM dependencies AS test
RUN pip --python /opt/venv/bin/python install --constraint constraints.txt --group test
ENV PATH=/opt/venv/bin:$PATH
COPY --from=builder /src/dist dist
RUN pip --python /opt/venv/bin/python install --no-deps dist/*.whl
COPY tests tests


FROM python:3.13-slim
LABEL org.opencontainers.image.title="temporal-docker-autoscaler" \
      org.opencontainers.image.description="Scales Docker Compose and Swarm services by the backlog of their Temporal task queues."
# What outlives the container is in a folder of its own: a volume mounted there begins as its copy.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin autoscaler \
    && install -d -o autoscaler -g autoscaler /var/lib/autoscaler
COPY --from=builder /opt/venv /opt/venv
COPY image/entrypoint.sh image/healthcheck.py /usr/local/bin/
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# Unhealthy when the loop has stopped ticking: a minute without one, see /healthz.
# A slow machine takes its time to start the check, and a Swarm replaces what is unhealthy.
HEALTHCHECK --interval=5s --timeout=30s --start-period=60s \
    CMD ["python", "/usr/local/bin/healthcheck.py"]
EXPOSE 8080 8081
ENTRYPOINT ["entrypoint.sh"]
CMD ["run"]
# Last, as they differ for each commit. scripts/setup.py and `make release` fill them; the address of
# the source is not known here: --build-arg=SOURCE=...
ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED \
      org.opencontainers.image.source=$SOURCE
