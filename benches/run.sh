#!/usr/bin/env bash
# Measures everything that docs/performance.md says, on this machine.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: benches/run.sh [--only NAME] [--rounds N] [--json FILE] [--curves FILE] [--no-write] [--strict]

Builds the program and the benchmark for release, and the servers that they are compared with as cargo does by default
(the profile `stock`), installs the peers (tests/peers.sh), measures each figure beside what it is compared with, in turns,
and prints one table, headed by the machine and the versions. A run of everything then writes the tables of
docs/performance.md and the plots of docs/plots; a part of it writes neither.

  --only NAME    one part, or one figure, of the benchmark
  --rounds N     how often each side is measured (default: 7); a ratio is the median of the rounds' own
  --json FILE    writes the figures: a list of { name, value, baseline, ratio, limit, unit, … }
  --curves FILE  writes what the plots are drawn from: a list of { name, what, x, unit, points }
  --no-write     leaves docs/ alone
  --strict       exits with 1 if a figure misses its limit; without it, `MISSED` is printed and no more
  --help         prints this

It exits with 2 if an argument is wrong. Ports are free ones of 127.0.0.1. It wants a machine with nothing else to do:
what else runs shows as the distance of the least from the most.
USAGE
}
wrong() {
    printf '%s; `benches/run.sh --help` says what there is\n' "$1" >&2
    exit 2
}

only='' rounds=7 json='' curves='' write=true strict=false
while (($#)); do
    case $1 in
        --only | --rounds | --json | --curves)
            (($# > 1)) && [[ -n $2 ]] || wrong "\`$1\` wants a value"
            case $1 in
                --only) only=$2 ;;
                --rounds) rounds=$2 ;;
                --json) json=$(realpath -m -- "$2") ;;
                --curves) curves=$(realpath -m -- "$2") ;;
            esac
            shift 2
            ;;
        --no-write) write=false; shift ;;
        --strict) strict=true; shift ;;
        --help | -h) usage; exit 0 ;;
        *) wrong "unknown argument \`$1\`" ;;
    esac
done
[[ $rounds =~ ^[1-9][0-9]{0,3}$ ]] || wrong "\`--rounds\` wants a number from 1 to 9999, not \`$rounds\`"
for file in "$json" "$curves"; do
    [[ -z $file || (-d $(dirname "$file") && ! -d $file) ]] || wrong "\`$file\` is no file that can be written"
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Before minutes of building; the benchmark itself is exact about it.
if [[ -n $only ]]; then
    grep -rqF --include='*.rs' "\"$only\"" benches/speed || wrong "\`--only\` knows no part and no figure \`$only\`"
    write=false
fi
for tool in cargo python3; do
    command -v "$tool" >/dev/null || { printf '%s is needed\n' "$tool" >&2; exit 1; }
done

tests/peers.sh
# build NAME [OPTION…]: builds a benchmark, and the program as well, and prints where cargo has put it.
build() {
    local name=$1
    shift
    cargo bench --locked "$@" --bench "$name" --no-run --message-format=json-render-diagnostics | python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])
' "$name"
}
printf 'building for release\n' >&2
program=$(build speed)
printf 'building what it is compared with\n' >&2
stock=$(build baseline-stock --profile stock)
tuned=$(build baseline-tuned --profile stock)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
arguments=(--rounds "$rounds" --json "$folder/figures.json" --curves "$folder/curves.json")
arguments+=(--stock "$stock" --tuned "$tuned")
[[ -z $only ]] || arguments+=(--only "$only")
"$program" "${arguments[@]}" >"$folder/table" || exit $?

report=(--figures "$folder/figures.json" --curves "$folder/curves.json")
! $write || report+=(--write)
python3 benches/report.py "${report[@]}"
[[ -z $json ]] || cp "$folder/figures.json" "$json"
[[ -z $curves ]] || cp "$folder/curves.json" "$curves"
! $strict || python3 benches/report.py --figures "$folder/figures.json" --strict
