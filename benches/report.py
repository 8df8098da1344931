#!/usr/bin/env python3
"""Makes tables and plots of what the benchmark measured; benches/run.sh calls it.

    benches/report.py --figures FILE [--curves FILE] [--write]    prints one table, headed by the machine and the versions;
                                                                  with --write also to docs/performance.md and docs/plots
    benches/report.py --figures FILE --strict                     says which figures miss their limit, and exits with 1 then
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

import plots

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"

# The parts of the benchmark, as the page calls them; one without a title has its name.
TITLES = {
    "check": "A cached check",
    "cold": "A token's first check",
    "envoy": "Through Envoy",
    "threads": "One and two gate threads",
    "growth": "With size",
    "issuer": "The issuer",
    "footprint": "Memory",
    "memory": "Memory",
    "overload": "Under overload",
}


def output_of(*command):
    """The first line that a program prints, or None."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    except OSError:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines and done.returncode == 0 else None


def machine():
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown processor",
    )
    kilobytes = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal:"))
    cores = os.cpu_count()
    memory = f"{kilobytes / 1024 / 1024:.1f} GiB of memory"
    return f"{model}, {cores} {'core' if cores == 1 else 'cores'}, {memory}, {platform.system()} {platform.release()}"


def versions():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    envoys = sorted((ROOT / "target/peers/venv/lib").glob("python3*/site-packages/envoy/_bin/envoy"))
    # "…/envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
    envoy = output_of(envoys[0], "--version") if envoys else None
    found = [
        output_of(target / "release/scopegate", "--version") or "scopegate",
        output_of("git", "describe", "--always", "--dirty", "--tags"),
        output_of("rustc", "--version"),
        f"Envoy {envoy.split('/')[-4]}" if envoy and envoy.count("/") >= 4 else "no Envoy",
        output_of("h2load", "--version"),
    ]
    scopegate = f"{found[0]} ({found[1]})" if found[1] else found[0]
    return ", ".join(item for item in [scopegate, *found[2:]] if item)


def number(value):
    if value is None:
        return "–"
    if value != 0 and abs(value) < 0.1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"


def ratio(value):
    """With a digit more than limits have, so that 0.401 does not read as 0.40."""
    return "–" if value is None else f"{value:.3f}"


def judged(figure):
    return figure["value"] if figure["ratio"] is None else figure["ratio"]


def missed(figure):
    return figure["limit"] is not None and judged(figure) > figure["limit"]


HEAD = ["what", "median", "least … most", "compared with", "its median", "ratio", "at most", ""]


def row(figure):
    unit = figure["unit"]
    return [
        figure["what"],
        f"{number(figure['value'])} {unit}".strip(),
        f"{number(figure['min'])} … {number(figure['max'])}",
        figure.get("baseline_what") or "–",
        "–" if figure["baseline"] is None else f"{number(figure['baseline'])} {unit}".strip(),
        ratio(figure["ratio"]),
        number(figure["limit"]),
        "" if figure["limit"] is None else ("MISSED" if missed(figure) else "met"),
    ]


def by_part(figures):
    parts = {}
    for figure in figures:
        parts.setdefault(figure.get("part") or "", []).append(figure)
    return [(TITLES.get(name, name), rows) for name, rows in parts.items()]


def terminal(figures):
    rows = [HEAD] + [row(figure) for figure in figures]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    left = {0, 3, 7}

    def line(cells):
        padded = (c.ljust(w) if n in left else c.rjust(w) for n, (c, w) in enumerate(zip(cells, widths)))
        return "  ".join(padded).rstrip()

    lines = [line(HEAD)]
    for title, rows in by_part(figures):
        lines += ["", title] + [line(row(figure)) for figure in rows]
    return "\n".join(lines)


def markdown(figures, drawn, about):
    least, most = (pick(figure["rounds"] for figure in figures) for pick in (min, max))
    rounds = f"{most}" if least == most else f"{least} to {most}"
    lines = [f"Measured {rounds} times on: {about[0]}.", f"Versions: {about[1]}.", ""]
    for title, rows in by_part(figures):
        lines += [f"### {title}", ""]
        lines += ["| " + " | ".join(HEAD[:-1]) + " |", "|" + "---|" * (len(HEAD) - 1)]
        for figure in rows:
            cells = row(figure)
            if cells[7] == "MISSED":
                cells[6] += ", **missed**"
            lines.append("| " + " | ".join(cells[:-1]) + " |")
        lines.append("")
    if drawn:
        lines += ["### Plots", ""]
        lines += [line for name, title in drawn for line in (f"![{title}](plots/{name}.svg)", "")]
    return "\n".join(lines)


def write(text):
    page = PAGE.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        sys.exit(f"{PAGE}: `{BEGIN}` and `{END}` have to be there once, in this order")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=pathlib.Path, required=True)
    parser.add_argument("--curves", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--strict", action="store_true")
    arguments = parser.parse_args()
    figures = json.loads(arguments.figures.read_text())
    if arguments.strict:
        short = [figure["name"] for figure in figures if missed(figure)]
        sys.exit(f"limits missed: {', '.join(short)}" if short else 0)
    about = machine(), versions()
    print(f"machine: {about[0]}\nversions: {about[1]}\n\n{terminal(figures)}")
    if arguments.write:
        curves = json.loads(arguments.curves.read_text()) if arguments.curves else []
        drawn = plots.draw(curves, ROOT / "docs/plots")
        write(markdown(figures, drawn, about))
        print(f"\nwritten: {PAGE.relative_to(ROOT)} and {len(drawn)} plots")


if __name__ == "__main__":
    main()
