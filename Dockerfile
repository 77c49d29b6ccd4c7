# Two images from one file, each run as a user of its own and with a read-only root:
#
#     docker build --target gateway -t acp-gateway .
#     docker build --target agent-host -t acp-agent-host --build-arg AGENTS="opencode-ai@1.18.33" .
#
# What they write goes to the volumes and to /tmp: docker run --read-only --tmpfs /tmp …
# `make image` builds both without a Docker engine, and drives a session through them.

ARG PYTHON_IMAGE=python:3.13-slim
ARG NODE_IMAGE=node:24-slim

FROM ${NODE_IMAGE} AS node

FROM ${PYTHON_IMAGE} AS build-gateway
COPY deploy/requirements.txt /
RUN python3 -m venv /opt/acp-gateway \
    && /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /requirements.txt
COPY pyproject.toml README.md LICENSE NOTICE config.example.toml /src/
COPY gateway /src/gateway
COPY client /src/client
COPY migrations /src/migrations
RUN /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --no-deps /src \
    && /opt/acp-gateway/bin/pip uninstall --yes --quiet setuptools pip

# The agent host is a distribution of its own: of the gateway it has what runs agents, and no PostgreSQL.
FROM ${PYTHON_IMAGE} AS build-agent-host
COPY deploy/agent-host/requirements.txt /
RUN python3 -m venv /opt/acp-gateway \
    && /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /requirements.txt
COPY LICENSE /src/
COPY gateway /src/gateway
COPY deploy/agent-host /src/deploy/agent-host
RUN /opt/acp-gateway/bin/pip install --no-cache-dir --no-compile --no-deps /src/deploy/agent-host \
    && /opt/acp-gateway/bin/pip uninstall --yes --quiet setuptools pip

# The gateway. As a sidecar it shares the network of the container that it serves and listens on its loopback only, since
# without identity it serves this machine alone; in front of many containers give it a configuration of its own. As the
# agents share that loopback, it wants a token, which is in its volume, where they are not: its own commands find it.
#
#     docker run --init --network container:my-agents --name gateway -v acp-data:/var/lib/acp-gateway acp-gateway
#     docker exec gateway acp-gateway project list
#     docker exec gateway acp-gateway token link   # for a browser
#
#     docker run --init -v ./config.toml:/config.toml:ro -p 8080:8080 acp-gateway serve --config /config.toml
#
# --init: the embedded PostgreSQL's processes need somebody who reaps them. With a PostgreSQL of your own
# (-e ACP_GATEWAY_DATABASE_URL=…) the volume is not needed.
FROM ${PYTHON_IMAGE} AS gateway
# PostgreSQL refuses to run as root, and asks /etc/passwd for whoever runs it.
RUN useradd --create-home --uid 10001 acp \
    && install --directory --owner=acp --mode=0700 /var/lib/acp-gateway
COPY --from=build-gateway /opt/acp-gateway /opt/acp-gateway
ENV PATH=/opt/acp-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ACP_GATEWAY_EMBEDDED_DATA_DIR=/var/lib/acp-gateway
USER acp
WORKDIR /home/acp
VOLUME /var/lib/acp-gateway
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["acp-gateway"]
CMD ["serve", "--container", "http://127.0.0.1:4096"]

# The agent host: a base for project containers. AGENTS are npm packages, as many as the project is to have; others are
# installed in an image made FROM this one. It needs a secret to be reached from elsewhere than its own network, and
# where the gateway asks it by a name instead of an address, that name:
#
#     docker run --init -e ACP_HOST_TOKEN=… -v ./code:/workspace -p 4097:4097 acp-agent-host
#     docker run --init -e ACP_HOST_TOKEN=… -e ACP_GATEWAY_AGENT_HOST_ALLOWED_HOSTS=project \
#         --network agents --name project -v ./code:/workspace acp-agent-host
FROM ${PYTHON_IMAGE} AS agent-host
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
ARG AGENTS=""
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
    && if [ -n "${AGENTS}" ]; then npm install --global --no-fund --no-audit ${AGENTS} && npm cache clean --force; fi
# Not the gateway's user: where the two share a network or processes, agents must not read what is the gateway's.
RUN useradd --create-home --uid 10002 acp && install --directory --owner=acp /workspace
COPY --from=build-agent-host /opt/acp-gateway /opt/acp-gateway
ENV PATH=/opt/acp-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ACP_GATEWAY_AGENT_HOST_HOST=0.0.0.0 \
    ACP_GATEWAY_AGENT_HOST_WORKSPACE=/workspace
USER acp
WORKDIR /workspace
# Agents keep their sessions below the home directory: a session that is taken up again needs it.
VOLUME ["/workspace", "/home/acp"]
EXPOSE 4097
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4097/health', timeout=2)"]
ENTRYPOINT ["acp-gateway"]
CMD ["agent-host"]
