#!/usr/bin/env python3
"""The judge of benches/instructions.sh.

    benches/instructions.py read GUNGRAUN.json           prints the count of each name, from what Gungraun printed
    benches/instructions.py compare BASELINE COUNTS      fails if a count grew by more than a tenth, or a name is on one
                                                         side alone
"""

import json
import sys

# What a count may grow by without a word, in hundredths.
TOLERANCE = 10

ACCEPT = "to accept what was counted: benches/instructions.sh --update, and say in the commit why it costs more"


def read(text):
    """Gungraun prints one document for each count, one after the other."""
    counts = {}
    decoder = json.JSONDecoder()
    rest = text.lstrip()
    while rest:
        document, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
        name = document["id"]
        if name in counts:
            raise SystemExit(f"`{name}` was counted twice")
        counts[name] = instructions(document)
    if not counts:
        raise SystemExit("nothing was counted")
    return counts


def instructions(document):
    """The count of this run; Gungraun gives that of the run before beside it."""
    [profile] = document["profiles"]
    return profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]


def compare(baseline, counts):
    """Prints every name; returns what is wrong."""
    if not baseline:
        return ["the baseline is empty"]
    wrong = []
    width = max(len(name) for name in [*baseline, *counts])
    for name in [*baseline, *(name for name in counts if name not in baseline)]:
        before, now = baseline.get(name), counts.get(name)
        if now is None:
            wrong.append(f"`{name}` is in the baseline and was not counted")
            continue
        if before is None:
            wrong.append(f"`{name}` was counted and is not in the baseline")
            continue
        if before <= 0 or now <= 0:
            wrong.append(f"`{name}`: a count of nothing ({before} and {now}) compares with nothing")
            continue
        change = now / before - 1
        remark = ""
        if now * 100 > before * (100 + TOLERANCE):
            remark = "  GREW"
            wrong.append(f"`{name}` grew by {change:.1%}: from {before:,} to {now:,} instructions")
        elif now * 100 < before * (100 - TOLERANCE):
            remark = "  shrank: --update keeps it so"
        print(f"{name:<{width}}  {before:>12,}  {now:>12,}  {change:>+8.2%}{remark}")
    return wrong


def main(arguments):
    match arguments:
        case ["read", path]:
            print(json.dumps(read(open(path).read()), indent=2))
            return 0
        case ["compare", baseline, counts]:
            wrong = compare(json.load(open(baseline)), json.load(open(counts)))
            for problem in wrong:
                print(problem, file=sys.stderr)
            if wrong:
                print(ACCEPT, file=sys.stderr)
            return int(bool(wrong))
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
