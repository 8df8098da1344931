"""Draws curves as SVG: what benches/report.py puts into docs/plots.

Nothing but the standard library, and the same picture for the same numbers, so that a diff of a plot is a change of a
figure. A plot has its own paper: it reads the same on a light page and on a dark one.
"""

import math
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 44, 56
# Okabe and Ito's colours, which people who see few colours can tell apart; each line has a mark of its own as well.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#333333"]


def draw(curves, folder):
    """Draws one plot for the curves whose names are the same up to a dot; gives the names and titles."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = {}
    for curve in curves:
        if curve["points"]:
            groups.setdefault(curve["name"].split(".")[0], []).append(curve)
    drawn = []
    for name in sorted(groups):
        picture, title = plot(groups[name])
        (folder / f"{name}.svg").write_text(picture)
        drawn.append((name, title))
    # A plot that nobody measures any more would be a figure of yesterday.
    for old in folder.glob("*.svg"):
        if old.stem not in groups:
            old.unlink()
    return drawn


def short(value):
    """A number for an axis."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def even_steps(top, count=6):
    """From 0 to at least `top` in steps that people like."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / count
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= rough * 0.999)
    return [step * n for n in range(math.ceil(top / step - 1e-9) + 1)]


def plot(curves):
    xs = sorted({x for curve in curves for x, _ in curve["points"]})
    top = max(y for curve in curves for _, y in curve["points"])
    bottom = min(0.0, min(y for curve in curves for _, y in curve["points"]))
    y_ticks = even_steps(top)
    if bottom < 0:
        y_ticks = [-tick for tick in reversed(even_steps(-bottom, 2)[1:])] + y_ticks
    y_low, y_high = y_ticks[0], y_ticks[-1]
    # Sizes that grow by factors stand at even distances; 0 has no logarithm.
    logarithmic = xs[0] > 0 and len(xs) > 2 and xs[-1] / xs[0] >= 16
    at = math.log if logarithmic else float
    x_low, x_high = at(xs[0]), at(xs[-1])
    if not logarithmic:
        margin = (x_high - x_low) * 0.04 or 1.0
        x_low, x_high = x_low - margin, x_high + margin

    def px(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * ((at(x) - x_low) / (x_high - x_low))

    def py(y):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - y_low) / (y_high - y_low))

    title = f"{curves[0]['what']} by {curves[0]['x']}"
    if len(curves) > 1:
        title = f"{curves[0]['unit']} by {curves[0]['x']}: " + ", ".join(curve["what"] for curve in curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fbfbf8"/>',
    ]

    def text(x, y, words, anchor="middle", extra=""):
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222"{extra}>{escape(words)}</text>')

    for tick in y_ticks:
        y = py(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dcdcd4"/>')
        text(LEFT - 8, y + 4.5, short(tick), "end")
    right_most = -100.0
    for x in xs:
        place = px(x)
        parts.append(
            f'<line x1="{place:.1f}" y1="{HEIGHT - BOTTOM}" x2="{place:.1f}" y2="{HEIGHT - BOTTOM + 5}" stroke="#555555"/>'
        )
        if place - right_most >= 34:
            text(place, HEIGHT - BOTTOM + 20, short(x))
            right_most = place
    parts.append(
        f'<line x1="{LEFT}" y1="{py(0):.1f}" x2="{WIDTH - RIGHT}" y2="{py(0):.1f}" stroke="#555555"/>'
    )
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, curves[0]["x"] + (" (logarithmic)" if logarithmic else ""))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    text(20, middle, curves[0]["unit"], extra=f' transform="rotate(-90 20 {middle:.1f})"')
    legend = float(LEFT)
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        points = sorted(curve["points"])
        dashes = "" if number < len(COLOURS) else ' stroke-dasharray="6 4"'
        line = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts += [mark(number, px(x), py(y), colour) for x, y in points]
        parts.append(mark(number, legend + 6, 22, colour))
        text(legend + 17, 26.5, curve["what"], "start")
        legend += 17 + 7.2 * len(curve["what"]) + 22
    parts.append("</svg>")
    return "\n".join(parts) + "\n", title


def mark(number, x, y, colour):
    shape = number % 4
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if shape == 1:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>'
    if shape == 2:
        return f'<polygon points="{x:.1f},{y - 5:.1f} {x + 5:.1f},{y + 4:.1f} {x - 5:.1f},{y + 4:.1f}" fill="{colour}"/>'
    return f'<polygon points="{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}" fill="{colour}"/>'
