# What can be done here. CI calls the same recipes, see `ci`.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What the tests run, unless told otherwise: the binary as it is shipped.
export SPLITTOKEN_BIN := env("SPLITTOKEN_BIN", justfile_directory() / "target/release/splittoken")

# List the recipes.
default:
    @just --list --unsorted

# Get the parts that the tests need: redis-server, Keycloak, a browser, …
setup:
    tests/setup

# Run the demo on http://127.0.0.1:8080.
demo *arguments:
    cargo run --release -p splittoken -- demo {{arguments}}

# Format the code.
fmt:
    cargo fmt --all

# Check the format.
fmt-check:
    cargo fmt --all -- --check

# Clippy over everything, warnings being errors.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Check which crate may use which, licenses and sources.
deny:
    cargo deny --all-features --locked check bans licenses sources

# Throw bytes at the functions that take what strangers send, each for so many seconds. The tests do it briefly.
fuzz seconds="60":
    SPLITTOKEN_FUZZ_SECONDS={{seconds}} cargo test --locked --no-fail-fast -p splittoken-fuzz
    SPLITTOKEN_FUZZ_SECONDS={{seconds}} cargo test --locked -p splittoken-gateway --lib gate::

# Check the dependencies for known holes. Needs the advisory database, which is fetched from its Git repository.
advisories:
    cargo deny --locked check advisories

# Generate the custom resource definitions, and the chart's copy of them.
crds:
    cargo run --locked -p splittoken -- crd --out crds
    cargo run --locked -p splittoken -- crd --out charts/splittoken/files/crds

# Check that the committed custom resource definitions are the generated ones.
crds-check: build
    #!/usr/bin/env bash
    set -euo pipefail
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    "$SPLITTOKEN_BIN" crd --out "$fresh"
    for folder in crds charts/splittoken/files/crds; do
        diff -r "$fresh" "$folder" || { echo "$folder is not fresh: run 'just crds'" >&2; exit 1; }
    done

# Check the chart with both helms.
chart-lint:
    #!/usr/bin/env bash
    set -euo pipefail
    for helm in "${SPLITTOKEN_HELM:-helm}" "${SPLITTOKEN_HELM3:-helm}"; do
        "$helm" lint --strict --quiet --namespace splittoken-system charts/splittoken
    done

# Check the workflows of CI. Without shellcheck, which not every machine has: the same everywhere.
workflows-lint:
    "${SPLITTOKEN_ACTIONLINT:-actionlint}" -shellcheck= -pyflakes= .github/workflows/*.yaml

# Make the image without a container engine, for `kind load image-archive` and the like.
image archive="target/splittoken.tar": build
    tests/image/archive "$SPLITTOKEN_BIN" {{archive}}

# All tests, those with real parts against the binary as it is shipped. In one go: cargo builds each dependency once.
test: build
    cargo test --locked --workspace --no-fail-fast

# The tests inside the crates.
test-unit:
    cargo test --locked --workspace --exclude splittoken-tests

# The tests with real parts, all or those of one binary, against a debug build: `just test-e2e gate`.
test-e2e name="*":
    cargo build --locked -p splittoken
    env -u SPLITTOKEN_BIN cargo test --locked -p splittoken-tests --test '{{name}}'

# What runs in pods, against a debug build: on the cluster of E2E_KUBECONFIG (with E2E_LOAD_IMAGE, such as
# "kind load image-archive"), or on one that is brought up for it, which needs root. All, or those whose names hold a text.
test-cluster name="":
    cargo build --locked -p splittoken
    env -u SPLITTOKEN_BIN cargo test --locked -p splittoken-tests --test cluster -- --nocapture '{{name}}'

# CPU time for each request beside a plain nginx, in one run.
bench: build
    cargo bench --locked -p splittoken-tests --bench peers

# Instructions, allocations and system calls of each request, counted by valgrind: these hold on a busy machine. The names of
# functions are kept in the binary for it.
instructions:
    CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only just build
    cargo test --locked -p splittoken-tests --bench instructions

# What ten thousand routes (or another number) cost: from apply to rendered, served and told, and the operator's memory.
scale count="10000": build
    SPLITTOKEN_SCALE={{count}} cargo test --locked -p splittoken-tests --test control_plane -- --nocapture scale::

# The binary as it is shipped.
build:
    cargo build --locked --release -p splittoken

# What CI runs.
ci: fmt-check lint deny crds-check chart-lint workflows-lint test
