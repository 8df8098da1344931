#!/usr/bin/env bash
# All tests, and everything that they need. What `.ci/run` runs is what a person runs.
#
#   tests/run.sh            every step below
#   tests/run.sh --quick    without the quickstart and the count of instructions, which build a release
#
# It goes on after a step that failed, names the failed steps at the end, and exits 1 if there were any.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=false
case ${1:-} in
    '') ;;
    --quick) quick=true ;;
    *) printf 'unknown argument `%s`: say nothing, or `--quick`\n' "$1" >&2; exit 2 ;;
esac

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
failed=()
# step NAME COMMAND…
step() {
    local name=$1 started=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    if "$@"; then
        printf '=== %s: done in %s s\n' "$name" "$((SECONDS - started))"
    else
        printf '=== %s: FAILED after %s s\n' "$name" "$((SECONDS - started))"
        failed+=("$name")
    fi
}

warnings_are_errors() { cargo "$@" -- -D warnings; }

# One profile for everything that is tested: clippy, the tests and the doc tests share their dependencies' artefacts.
tests() {
    cargo test --locked --all-features --no-fail-fast 2>&1 | tee target/tests.log
    local status=${PIPESTATUS[0]}
    # A run that left the tests through real peers out proves nothing, however green it is.
    if ! grep -q 'test gate::bank::every_case_of_the_bank_holds_through_envoy \.\.\. ok' target/tests.log; then
        echo 'the tests through real Envoy did not pass'
        return 1
    fi
    return "$status"
}

quickstart() {
    deploy/quickstart/run.sh --once || return 1
    # It leaves nothing running: the ports are free again.
    local port
    for port in 9191 8443 9464 10000 9901 10080; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "port $port is still taken after the quickstart"
            return 1
        fi
    done
}

denied_dependencies() {
    if command -v cargo-deny >/dev/null; then
        cargo deny --offline check bans licenses sources || cargo deny check bans licenses sources
    else
        # The bans that matter most, without the tool: nothing that ships links these.
        local tree
        tree=$(cargo tree --locked --edges normal --prefix none --format '{p}') || return 1
        ! grep -E '^(openssl|openssl-sys|native-tls|rsa|ring) v' <<<"$tree"
    fi
}

if ! tests/peers.sh; then
    echo 'the peers of the tests could not be installed'
    exit 1
fi
mkdir -p target
step 'format' cargo fmt --check
step 'lints' warnings_are_errors clippy --locked --all-targets --all-features
step 'tests' tests
step 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --all-features --quiet
step 'coverage' python3 tests/coverage.py --check
configuration_page() {
    cargo run --locked --all-features --quiet -- schema >target/schema.json && tests/configuration.py target/schema.json --check
}
step 'configuration page' configuration_page
step 'dependencies' denied_dependencies
if ! $quick; then
    step 'quickstart' quickstart
    step 'instructions' benches/instructions.sh
fi

# The runner's own summaries, added up, as the last line.
passed=$(grep -oE '^test result: .* ([0-9]+) passed' target/tests.log | grep -oE '[0-9]+ passed' | awk '{ n += $1 } END { print n + 0 }')
broken=$(grep -oE '^test result: .* ([0-9]+) failed' target/tests.log | grep -oE '[0-9]+ failed' | awk '{ n += $1 } END { print n + 0 }')
echo
if ((${#failed[@]})); then
    echo "steps that failed: ${failed[*]}"
    # A step that is no test counts as one, so that the line below never reads as a success.
    ((broken > 0)) || broken=${#failed[@]}
fi
echo "$passed passed, $broken failed"
((${#failed[@]} == 0))
