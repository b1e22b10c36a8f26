# Sourced by tests/setup: what the cluster tests need. None of it is fatal to the other tests.
# shellcheck shell=bash disable=SC2154

# The user's own cluster has a node already.
wants_node() { [ -z "${E2E_KUBECONFIG:-}" ]; }

missing_node_packages() {
    have_program containerd || echo containerd
    have_program runc || echo runc
    [ -x "${SPLITTOKEN_CNI:-/usr/lib/cni}/ptp" ] || echo containernetworking-plugins
    have_program iptables || echo iptables
    have_program nft || echo nftables
    have_program socat || echo socat
    have_program ip || echo iproute2
    have_program openssl || echo openssl
}

# Not everybody has the folders of the administrator's programs in the path.
have_program() { PATH=$PATH:/usr/sbin:/sbin have "$1"; }

# Where they cannot be installed, the cluster tests will say so when they fail.
install_node_packages() {
    local wanted as_root=()
    wanted=$(missing_node_packages | tr '\n' ' ')
    [ -n "$wanted" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        { have sudo && sudo -n true 2>/dev/null; } || return 0
        as_root=(sudo -n)
    fi
    have apt-get || return 0
    say "installing $wanted"
    # shellcheck disable=SC2086 # a list of names
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null ||
        say "apt-get could not install: $wanted"
}

# The programs of a node beside the API server and etcd, from the same module as those.
kube_node_part() {
    local module=$parts/control-plane
    kube_node=$cache/kube-node-$(key "$module"/go.{mod,sum})
    if fresh "$kube_node"; then
        say "building kubelet, kube-proxy, kube-controller-manager and kube-scheduler (four minutes, once)"
        go_kubernetes "$kube_node/" k8s.io/kubernetes/cmd/{kubelet,kube-proxy,kube-controller-manager,kube-scheduler}
        touch "$kube_node/.done"
    fi
}

# go_program NAME: sets $go_program to the static program that tests/parts/NAME is the source of.
go_program() {
    local name=$1 folder
    folder=$cache/$name-$(key "$parts/$name"/{go.*,*.go})
    if fresh "$folder"; then
        say "building $name"
        (
            cd "$parts/$name"
            export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -mod=readonly"
            go build -ldflags '-s -w' -o "$folder/$name" .
        )
        touch "$folder/.done"
    fi
    go_program=$folder/$name
}

# images KIND PART…: sets $images to a folder with the images of that kind, made of the parts.
images() {
    local kind=$1
    shift
    # Folders have the key of what they are made of in their names; for programs of the machine, the date has to do.
    images=$cache/images-$kind-$({
        cat "$root"/tests/cluster/{image.py,images} "$parts/oidc-provider/server.mjs"
        local part
        for part; do
            if [ -d "$part" ]; then echo "$part"; else stat --dereference --format '%n %Y' "$part"; fi
        done
    } | key -)
    if fresh "$images"; then
        say "building the images for the $kind"
        "$root/tests/cluster/images" "$kind" "$images" "$@"
        touch "$images/.done"
    fi
}

cluster_parts() {
    local pod
    go_program pod
    pod=$go_program
    images pods "$pod" "$(command -v redis-server)" "$(node -p process.execPath)" "$oidc_provider/node_modules" \
        "$(command -v "$java")" "$keycloak"
    pod_images=$images
    kube_node='' node_images=''
    wants_node || return 0
    install_node_packages
    kube_node_part
    go_program coredns
    images node "$pod" "$go_program"
    node_images=$images
    "$root/tests/cluster/check" || true
}
