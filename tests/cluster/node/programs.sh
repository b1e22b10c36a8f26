# Sourced by `init`: the programs of the node, each with its command line.
# shellcheck shell=bash disable=SC2154

declare -A names=()

# start NAME FUNCTION
start() {
    "$2" >"$dir/logs/$1.log" 2>&1 &
    names[$!]=$1
}

# until_answers COMMAND…: waits for a part that others need. One that ended never answers, so that there is a limit.
until_answers() {
    local _
    for _ in $(seq 1200); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    stop "no answer: $*"
}

api() {
    curl --fail --silent --cacert "$dir/pki/ca.crt" --cert "$dir/pki/admin.crt" --key "$dir/pki/admin.key" \
        "https://127.0.0.1:6443$1"
}

# The images of the node itself first: pods wait for those.
import_images() {
    local file
    for file in "$SPLITTOKEN_NODE_IMAGES"/{pause,coredns}.tar; do
        ctr --namespace k8s.io images import "$file"
    done
}

run_etcd() {
    exec "$SPLITTOKEN_CONTROL_PLANE/etcd" --name node --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster node=http://127.0.0.1:2380
}

run_api_server() {
    exec "$SPLITTOKEN_CONTROL_PLANE/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
        --bind-address 0.0.0.0 --advertise-address "$NODE_ADDRESS" --secure-port 6443 \
        --tls-cert-file "$dir/pki/server.crt" --tls-private-key-file "$dir/pki/server.key" \
        --client-ca-file "$dir/pki/ca.crt" --authorization-mode Node,RBAC --allow-privileged \
        --enable-admission-plugins NodeRestriction --service-cluster-ip-range "$SERVICE_RANGE" \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$dir/pki/accounts.pub" --service-account-signing-key-file "$dir/pki/accounts.key" \
        --kubelet-client-certificate "$dir/pki/admin.crt" --kubelet-client-key "$dir/pki/admin.key" \
        --kubelet-preferred-address-types InternalIP --profiling=false
}

# What comes in by the file goes on to the API server.
run_way_in() {
    exec socat "UNIX-LISTEN:$dir/api.sock,fork,mode=600,unlink-early" TCP:127.0.0.1:6443
}

run_containerd() {
    exec containerd --config "$dir/config/containerd.toml" --log-level warn
}

run_controller_manager() {
    exec "$SPLITTOKEN_KUBE_NODE/kube-controller-manager" --kubeconfig "$dir/node.kubeconfig" \
        --bind-address 127.0.0.1 --leader-elect=false --use-service-account-credentials --profiling=false \
        --service-account-private-key-file "$dir/pki/accounts.key" --root-ca-file "$dir/pki/ca.crt" \
        --cluster-signing-cert-file "$dir/pki/ca.crt" --cluster-signing-key-file "$dir/pki/ca.key" \
        --service-cluster-ip-range "$SERVICE_RANGE"
}

run_scheduler() {
    exec "$SPLITTOKEN_KUBE_NODE/kube-scheduler" --kubeconfig "$dir/node.kubeconfig" \
        --bind-address 127.0.0.1 --leader-elect=false --profiling=false
}

run_kubelet() {
    exec "$SPLITTOKEN_KUBE_NODE/kubelet" --config "$dir/config/kubelet.yaml" --kubeconfig "$dir/node.kubeconfig" \
        --hostname-override node --node-ip "$NODE_ADDRESS"
}

run_proxy() {
    exec "$SPLITTOKEN_KUBE_NODE/kube-proxy" --config "$dir/config/proxy.yaml"
}
