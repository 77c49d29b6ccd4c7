# The gateway as a sidecar: it shares the network of the container that it serves, and listens on that network's
# loopback only, because there is no identity yet. In a pod of Kubernetes the two containers share it by themselves;
# with plain containers join it (and see that something else in that network, not a published port, talks to 8080):
#
#     docker build -t acp-gateway .
#     docker run --init --network container:my-agents -v acp-data:/var/lib/acp-gateway acp-gateway
#
# --init: the embedded PostgreSQL's processes need somebody who reaps them. With a PostgreSQL of your own
# (-e ACP_GATEWAY_DATABASE_URL=…) the volume is not needed.

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
COPY pyproject.toml README.md config.example.toml /src/
COPY gateway /src/gateway
COPY migrations /src/migrations
RUN python -m venv /opt/acp-gateway && /opt/acp-gateway/bin/pip install --no-cache-dir /src

FROM ${PYTHON_IMAGE}
# PostgreSQL refuses to run as root, and asks /etc/passwd for whoever runs it.
RUN useradd --system --create-home --uid 10001 acp \
    && install --directory --owner=acp --mode=0700 /var/lib/acp-gateway
COPY --from=build /opt/acp-gateway /opt/acp-gateway
ENV PATH=/opt/acp-gateway/bin:$PATH \
    ACP_GATEWAY_EMBEDDED_DATA_DIR=/var/lib/acp-gateway
USER acp
WORKDIR /home/acp
VOLUME /var/lib/acp-gateway
ENTRYPOINT ["acp-gateway"]
CMD ["serve", "--container", "http://127.0.0.1:4096"]
