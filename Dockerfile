# One image for every process: `kgw ingress`, `kgw worker`, `kgw console`, `kgw migrate`.

FROM python:3.11-slim AS build
WORKDIR /src

# Everything comes from the locks, by hash: uv, what runs, and what builds the wheel.
COPY dev/installer.lock dev/installer.lock
RUN pip install --no-cache-dir --require-hashes -r dev/installer.lock

COPY requirements/run.lock requirements/dev.lock requirements/
RUN python -m venv --without-pip /opt/kgw \
    && uv pip install --no-cache --compile-bytecode --python /opt/kgw/bin/python \
       --require-hashes -r requirements/run.lock

COPY pyproject.toml README.md LICENSE ./
COPY ingress ingress
COPY worker worker
COPY console console
COPY shared shared
COPY kgw kgw
RUN uv pip install --no-cache --compile-bytecode --python /opt/kgw/bin/python \
    --no-deps --build-constraints requirements/dev.lock .


FROM python:3.11-slim

RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin kgw \
    && install --directory --owner kgw --group kgw /data

COPY --from=build /opt/kgw /opt/kgw

# Inside a container the container is the border, so the processes listen on all of its addresses.
ENV PATH=/opt/kgw/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KGW_DATABASE_URL=sqlite:////data/kgw.db \
    KGW_INGRESS_BIND_IP=0.0.0.0 \
    KGW_WORKER_BIND_IP=0.0.0.0 \
    KGW_CONSOLE_BIND_IP=0.0.0.0

USER kgw
WORKDIR /data
ENTRYPOINT ["kgw"]
