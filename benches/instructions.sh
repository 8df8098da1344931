#!/usr/bin/env bash
# Counts the instructions of a check (benches/instructions.rs) and compares them with benches/instructions.json.
#
#   benches/instructions.sh             fails when a count grew by more than a tenth, or a name is missing on either side
#   benches/instructions.sh --update    writes what was counted to benches/instructions.json: read the diff, then commit it
#
# Installs what it needs, once: Valgrind by apt, and Gungraun's runner under target/peers/gungraun.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

update=false
case ${1:-} in
    '') ;;
    --update) update=true ;;
    *) printf 'unknown argument `%s`: say nothing, or `--update`\n' "$1" >&2; exit 2 ;;
esac

say() { printf 'instructions: %s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

readonly root=target/peers/gungraun
# The library speaks to a runner of its own version alone.
version=$(sed -n 's/^gungraun = "=\(.*\)"$/\1/p' Cargo.toml)
[[ -n $version ]] || fail 'Cargo.toml pins no version of gungraun'

if ! command -v valgrind >/dev/null; then
    [[ $(id -u) == 0 ]] || fail 'valgrind is needed: install it by hand, or run as root'
    say 'apt: valgrind'
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
fi
mkdir -p "$root"
exec 9>"$root/.lock"
flock 9
if [[ ! -x $root/bin/gungraun-runner || ! -f $root/.stamp || $(<"$root/.stamp") != "$version" ]]; then
    say "gungraun-runner $version"
    cargo install --locked --quiet --force gungraun-runner --version "$version" --root "$root"
    printf '%s' "$version" >"$root/.stamp"
fi
flock -u 9

runner=$PWD/$root/bin
PATH=$runner:$PATH cargo bench --locked --all-features --bench instructions -- --output-format=json --nosummary=true \
    >target/gungraun.json
python3 benches/instructions.py read target/gungraun.json >target/instructions.json
if $update; then
    cp target/instructions.json benches/instructions.json
    say 'wrote benches/instructions.json'
else
    python3 benches/instructions.py compare benches/instructions.json target/instructions.json
fi
