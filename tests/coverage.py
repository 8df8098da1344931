#!/usr/bin/env python3
"""Which tests cover which attack, edge and case: makes docs/coverage.md from the names of the tests.

    tests/coverage.py            writes docs/coverage.md
    tests/coverage.py --check    fails if that file is not up to date, an id has neither a test nor a reason, a reason is
                                 no longer needed, or a test names an id that does not exist

A test covers an id by carrying it in its name (`attack_a02_…`, `edge_p05_…`, `edge_e07_…`, `case_052_…`); a name may carry
several. A row of a table counts too if its name, a text in the test's body, begins with the id.

The ids are in tests/coverage/ids.txt, one a line with what it is about; the reasons for what is not covered are in
tests/coverage/reasons.txt, an id or a pattern such as `case_*`, a colon, and the reason.
"""

import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
IDS = ROOT / "tests/coverage/ids.txt"
REASONS = ROOT / "tests/coverage/reasons.txt"
REPORT = ROOT / "docs/coverage.md"

ID = r"(?:attack_[a-z]\d{2}|edge_[a-z]\d{2}|case_\d{3})"
TEST = re.compile(r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async\s+)?fn\s+(\w+)")
ROW = re.compile(rf'"({ID})(?= )([^"\n]*)"')


def lines_of(path):
    for line in path.read_text().splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield line


def module_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[:2] == ["tests", "it"]:
        parts = ["it", *parts[2:]]
    elif parts[0] == "src":
        parts = parts[1:]
    return "::".join(part for part in parts if part != "tests")


def read_tests():
    """Yields an id and the test that carries it."""
    for folder in ("src", "tests/it"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            text = path.read_text()
            found = list(TEST.finditer(text))
            for index, test in enumerate(found):
                name = f"{module_of(path)}::{test[1]}"
                for carried in re.findall(ID, test[1]):
                    yield carried, name
                end = found[index + 1].start() if index + 1 < len(found) else len(text)
                for row in ROW.finditer(text, test.end(), end):
                    yield row[1], f"{name}: {row[2].strip()}"


def main():
    titles = dict(line.split(" ", 1) for line in lines_of(IDS))
    reasons = [tuple(part.strip() for part in line.split(":", 1)) for line in lines_of(REASONS)]
    problems = []
    covered = {}
    for carried, test in read_tests():
        if carried not in titles:
            problems.append(f"{test}: no such id `{carried}`")
        elif test not in covered.setdefault(carried, []):
            covered[carried].append(test)

    uncovered = {}
    needed = set()
    for known in titles:
        if known in covered:
            continue
        # The most exact reason counts: an id before a pattern.
        fitting = [pair for pair in reasons if fnmatch.fnmatchcase(known, pair[0])]
        if not fitting:
            problems.append(f"`{known}` ({titles[known]}) has neither a test nor a reason")
            continue
        pattern, reason = min(fitting, key=lambda pair: "*" in pair[0])
        needed.add(pattern)
        uncovered[known] = reason
    for pattern, _ in reasons:
        if pattern not in needed:
            problems.append(f"the reason for `{pattern}` is not needed any more: take it out of {REASONS.relative_to(ROOT)}")

    report = render(titles, covered, uncovered)
    if "--check" in sys.argv[1:]:
        if not REPORT.exists() or REPORT.read_text() != report:
            problems.append(f"{REPORT.relative_to(ROOT)} is out of date: run tests/coverage.py")
    else:
        REPORT.write_text(report)
    for problem in problems:
        print(f"coverage: {problem}", file=sys.stderr)
    print(f"coverage: {len(covered)} of {len(titles)} ids have tests, {len(uncovered)} have a reason")
    return 1 if problems else 0


def render(titles, covered, uncovered):
    groups = {}
    for known in titles:
        groups.setdefault(group_of(known), []).append(known)
    out = [
        "# What the tests cover",
        "",
        "Made by `tests/coverage.py` from the names of the tests; do not edit. An id stands in the name of each test that",
        "covers it, and `tests/run.sh` fails if one has neither a test nor a reason.",
        "",
        "| group | ids | with tests | with a reason |",
        "|---|---|---|---|",
    ]
    for group, ids in groups.items():
        tested = sum(known in covered for known in ids)
        out.append(f"| {group} | {len(ids)} | {tested} | {sum(known in uncovered for known in ids)} |")
    for group, ids in groups.items():
        out += ["", f"## {group}", ""]
        by_reason = {}
        listed = []
        for known in ids:
            if known in covered:
                tests = "<br>".join(f"`{test}`" for test in covered[known])
                listed.append(f"| {known} | {titles[known]} | {tests} |")
            else:
                by_reason.setdefault(uncovered.get(known, "no reason is given"), []).append(known)
        if listed:
            out += ["| id | what it is about | tests |", "|---|---|---|", *listed]
        for reason, without in by_reason.items():
            out += ["", f"Not covered, because {reason}:", ""]
            out += [f"- {known}: {titles[known]}" for known in without]
    return "\n".join(out) + "\n"


GROUPS = {
    "attack_a": "Attacks A: token parsing and signature",
    "attack_b": "Attacks B: keys and key sets",
    "attack_c": "Attacks C: caches",
    "attack_d": "Attacks D: the boundary with Envoy",
    "attack_e": "Attacks E: transport and denial of service",
    "attack_f": "Attacks F: the issuer",
    "attack_g": "Attacks G: store, time, operations",
    "edge_e": "Edges of ext_authz",
    "edge_p": "Cases P: paths",
    "edge_m": "Cases M: methods, upgrades, gRPC, CORS",
    "edge_h": "Cases H: hosts",
    "edge_c": "Cases C: where the credential comes from",
    "edge_j": "Cases J: the token",
    "edge_i": "Cases I: identity headers and mutations",
    "edge_d": "Cases D: what a denial looks like",
    "edge_x": "Cases X: sender-constrained tokens",
    "edge_o": "Cases O: the service's behaviour",
}


def group_of(known):
    if known.startswith("case_"):
        return "Cases of OAuth 2.0 and OpenID Connect"
    return GROUPS[known.rstrip("0123456789")]


if __name__ == "__main__":
    sys.exit(main())
