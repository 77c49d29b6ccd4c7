#!/usr/bin/env bash
# Runs the two images that deploy/image.sh built, each with a read-only root and as its own user, and runs a session of the
# demo agent through them. Needs root on Debian, and the ports 8080 and 4097.
set -euo pipefail

WORK=$(mktemp -d)
chmod 755 "$WORK"
TOKEN=$(head -c 24 /dev/urandom | base64 | tr -dc 'A-Za-z0-9')
CONTAINERS=() PROCESSES=()

buildah() { command buildah --storage-driver vfs "$@"; }

# inspect CONTAINER MEMBER: the items of a list in its configuration, one per line.
inspect() { buildah inspect --format "{{range $2}}{{println .}}{{end}}" "$1"; }

clean_up() {
    for process in "${PROCESSES[@]}"; do
        kill -TERM -- "-$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    for container in "${CONTAINERS[@]}"; do buildah rm "$container" >/dev/null; done
    rm -rf "$WORK"
}
trap clean_up EXIT

# start NAME FOLDER=PLACE… -- [VARIABLE=VALUE…] : the image acp-NAME, with folders of this machine at places in it.
start() {
    local name=$1 container root folders=() variables=() user=10001
    if [ "$name" = agent-host ]; then user=10002; fi
    shift
    while [ "$1" != -- ]; do
        mkdir -p "$WORK/$name/${1%%=*}"
        chown "$user:$user" "$WORK/$name/${1%%=*}"
        chmod 700 "$WORK/$name/${1%%=*}"
        folders+=(--volume "$WORK/$name/${1%%=*}:${1#*=}")
        shift
    done
    shift
    for variable in "$@"; do variables+=(--env "$variable"); done
    container=$(buildah from "localhost/acp-$name")
    CONTAINERS+=("$container")
    root=$(buildah mount "$container")
    # The same as `docker run --read-only --tmpfs /tmp`.
    setsid unshare --mount bash -c "
        mount --bind '$root' '$root' && mount -o remount,bind,ro '$root'
        mount -t tmpfs tmpfs '$root/run' && mount -t tmpfs tmpfs '$root/tmp' && chmod 1777 '$root/tmp'
        exec buildah --storage-driver vfs run --isolation chroot \"\$@\"
    " run "${variables[@]}" "${folders[@]}" "$container" -- \
        $(inspect "$container" .OCIv1.Config.Entrypoint) $(inspect "$container" .OCIv1.Config.Cmd) \
        >"$WORK/$name.log" 2>&1 &
    PROCESSES+=($!)
}

# until_healthy NAME: waits until the image's own health check succeeds inside the container.
until_healthy() {
    local container=${CONTAINERS[-1]} check
    mapfile -t check < <(inspect "$container" .Docker.Config.Healthcheck.Test)
    for _ in $(seq 60); do
        # Its first word is CMD: run the rest unchanged.
        if buildah run --isolation chroot "$container" -- "${check[@]:1}" 2>/dev/null; then
            return
        fi
        sleep 0.5
    done
    echo "$1 is not healthy; it said:" >&2
    cat "$WORK/$1.log" >&2
    exit 1
}

start agent-host workspace=/workspace home=/home/acp -- "ACP_HOST_TOKEN=$TOKEN"
until_healthy agent-host
start gateway data=/var/lib/acp-gateway -- "ACP_GATEWAY_CONTAINERS_TOKEN=$TOKEN"
until_healthy gateway

ACP=http://127.0.0.1:8080/api/projects/default/acp
# The agents share this loopback, so the gateway requires the token, which is in its own volume.
curl -s "$ACP/session" | grep -q '"unauthenticated"'
CALL=(-H "Authorization: Bearer $(cat "$WORK/gateway/data/local.token")" -H 'Content-Type: application/json')
SESSION=$(curl -sf "$ACP/session" "${CALL[@]}" -d '{"agentId": "demo"}' | grep -o 'ses_[0-9a-f]*')
curl -sf "$ACP/session/$SESSION/prompt" "${CALL[@]}" -H 'Prefer: wait=60' -d '{"prompt": "stream 5"}' | grep '"completed"'
curl -sf "$ACP/session/$SESSION/messages" "${CALL[@]}" | grep -o '"role":"[a-z]*"'
for name in agent-host gateway; do
    [ -z "$(grep -i -E 'traceback|read-only file system' "$WORK/$name.log")" ] || { cat "$WORK/$name.log" >&2; exit 1; }
done
ps -o user:8,args -C acp-gateway | head -n 4
echo "both images run as their user with a read-only root, and a session went through them"
