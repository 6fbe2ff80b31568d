#!/bin/sh
# Start the autoscaler. When this container runs as root, the process becomes the user autoscaler,
# in the group of the Docker socket. It stays root only where that user could not use the socket.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    exec autoscaler "$@"
fi

host=${DOCKER_HOST:-unix:///var/run/docker.sock}
socket=${host#unix://}
groups=--clear-groups
if [ -S "$socket" ]; then
    groups=--groups=$(stat --dereference --format=%g "$socket")
fi

as_autoscaler() {
    setpriv --reuid=autoscaler --regid=autoscaler "$groups" --no-new-privs "$@"
}

if ! as_autoscaler true 2>/dev/null; then
    echo "entrypoint: staying root: this container may not change its user" >&2
elif [ -S "$socket" ] && ! as_autoscaler test -r "$socket" -a -w "$socket"; then
    echo "entrypoint: staying root: the group of $socket may not read and write it" >&2
else
    export HOME=/home/autoscaler
    exec setpriv --reuid=autoscaler --regid=autoscaler "$groups" --no-new-privs autoscaler "$@"
fi
exec autoscaler "$@"
