# Sourced by `init`: what the node stands on. All of it is visible in the node's namespaces only, cgroups excepted.
# shellcheck shell=bash disable=SC2154

# Folders that the node's programs insist on are put over the machine's, which keep their content.
own_files() {
    mount --make-rprivate /
    mkdir -p "$dir"/{kubelet,containerd,etcd,networks,addresses,pod-logs,plugins,manifests}
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods /run/containerd
    mount --bind "$dir/kubelet" /var/lib/kubelet
    # Mounts that the kubelet makes for a pod have to be seen by containerd, and the other way round.
    mount --make-rshared /var/lib/kubelet
    mount -t tmpfs tmpfs /var/lib/cni
    mount -t tmpfs tmpfs /var/log/containers
    echo "nameserver 127.0.0.1" >"$dir/resolv.conf"
    hostname node
}

# The kubelet sets sysctls of the whole machine that differ from what it wants. It finds them right: files with the wanted
# values lie over the real ones.
own_sysctls() {
    mkdir /run/sysctls
    pretend vm/overcommit_memory 1
    pretend vm/panic_on_oom 0
    pretend kernel/panic 10
    pretend kernel/panic_on_oops 1
    pretend kernel/keys/root_maxkeys 1000000
    pretend kernel/keys/root_maxbytes 25000000
}

pretend() {
    [ -e "/proc/sys/$1" ] || return 0
    local file=/run/sysctls/${1//\//-}
    echo "$2" >"$file"
    mount --bind "$file" "/proc/sys/$1"
}

# An interface that holds the node's address, and a default route that leads nowhere: without one, the kernel refuses to
# send to a Service's address before kube-proxy's rules can translate it. A veth pair, because not every kernel has dummies.
own_network() {
    ip link set lo up
    ip link add node0 type veth peer name node0-end
    ip link set node0-end up
    ip address add "$NODE_ADDRESS/24" dev node0
    ip link set node0 up
    ip route add default via "${NODE_ADDRESS%.*}.254" dev node0
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# One parent for all pods in each hierarchy; `down` removes it.
make_cgroups() {
    local root
    while read -r root; do
        if [ "$root" = /sys/fs/cgroup ]; then
            enable_controllers "$root"
        fi
        mkdir "$root/$cgroup"
        if [ -e "$root/$cgroup/cpuset.cpus" ] && [ ! -e "$root/cgroup.controllers" ]; then
            # In version 1, a cpuset begins empty and takes no process as long as it is.
            cat "$root/cpuset.cpus" >"$root/$cgroup/cpuset.cpus"
            cat "$root/cpuset.mems" >"$root/$cgroup/cpuset.mems"
        fi
    done < <(cgroup_roots)
}

# Version 2: children get the controllers that their parent hands down.
enable_controllers() {
    local name
    for name in cpuset cpu io memory pids; do
        echo "+$name" >"$1/cgroup.subtree_control" 2>/dev/null || echo "cgroup controller $name cannot be had" >&2
    done
}

# Where the folder itself lies on an overlay, as in a container, the kernel refuses another one on top.
snapshotter() {
    local probe=$dir/probe
    mkdir -p "$probe"/{lower,upper,work,merged}
    if mount -t overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" overlay "$probe/merged"; then
        umount "$probe/merged"
        echo overlayfs
    else
        echo native
    fi
}

# Fills in the templates in config/.
configure() {
    local file snapshotter
    snapshotter=$(snapshotter)
    mkdir -p "$dir/config"
    for file in "$node"/config/*; do
        sed -e "s|@DIR@|$dir|g" -e "s|@CGROUP@|$cgroup|g" -e "s|@SNAPSHOTTER@|$snapshotter|g" \
            -e "s|@CNI@|${SPLITTOKEN_CNI:-/usr/lib/cni}|g" -e "s|@OPEN_FILES@|$(ulimit -n)|g" \
            -e "s|@POD_RANGE@|$POD_RANGE|g" -e "s|@DNS@|$DNS_SERVICE_ADDRESS|g" "$file" >"$dir/config/${file##*/}"
    done
    mv "$dir/config/pods.conflist" "$dir/networks/"
}
