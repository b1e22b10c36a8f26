# Sourced by the scripts beside it: where things are, and what every one of them needs.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/splittoken
root=$(cd "$here/../.." && pwd)
env_file=$cache/env${root//\//%}

stop() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# part NAME: prints where tests/setup put a part. The environment wins, as it does in the Rust tests.
part() {
    local value=${!1:-}
    if [ -z "$value" ] && [ -e "$env_file" ]; then
        # Without -u: the file extends a PATH.
        # shellcheck source=/dev/null
        value=$(source "$env_file" && printf '%s' "${!1:-}")
    fi
    [ -n "$value" ] && [ -e "$value" ] || stop "$1 is not there: run tests/setup"
    printf '%s\n' "$value"
}

# as_root ARGUMENTS: starts the calling script again by sudo where that asks for no password. Elsewhere the script goes
# on as it is, and `check` says what is lacking.
as_root() {
    if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then
        exec sudo -n env "HOME=$HOME" "PATH=$PATH" ${XDG_CACHE_HOME:+"XDG_CACHE_HOME=$XDG_CACHE_HOME"} "$0" "$@"
    fi
}

# cluster_of DIR: sets $dir to the folder of a cluster.
cluster_of() {
    [ -n "${1:-}" ] && [ -d "$1" ] || stop "there is no cluster in '${1:-}'"
    dir=$(cd "$1" && pwd)
}

# first_process DIR: prints the pid of the node's first process as this machine sees it.
first_process() {
    local outer
    outer=$(cat "$1/node.pid" 2>/dev/null) || return 1
    # The first child of unshare, whose end is the end of the node.
    awk '{ print $1; found = NF } END { exit !found }' "/proc/$outer/task/$outer/children" 2>/dev/null
}

# ended PID: whether a process has ended, waiting up to ten seconds for it.
ended() {
    local _
    for _ in $(seq 100); do
        [ -d "/proc/$1" ] || return 0
        sleep 0.1
    done
    return 1
}

# cgroup_roots: prints the folder of each hierarchy of cgroups that can hold pods to limits.
cgroup_roots() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
        return
    fi
    local root
    for root in /sys/fs/cgroup/*; do
        # In version 1, `cpu` may be a link to `cpu,cpuacct`, and `unified` holds no controllers.
        if [ -d "$root" ] && [ ! -L "$root" ] && [ "${root##*/}" != unified ]; then
            echo "$root"
        fi
    done
}
