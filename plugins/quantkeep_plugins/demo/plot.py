"""The equity curve, drawn twice: in characters for the terminal, and as SVG."""

from collections.abc import Sequence
from typing import Final

_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell
_BRAILLE: Final = 0x2800


def terminal_plot(
    values: Sequence[float], marks: Sequence[int], *, width: int = 64, height: int = 10
) -> list[str]:
    """Lines of a plot of *values*, with a ``▲`` below each place in *marks*.

    Every character holds two by four dots: the curve is ``2 * width`` wide, ``4 * height`` high.
    """
    low, high = min(values), max(values)
    cells = [[_BRAILLE] * width for _ in range(height)]
    before = None
    for x in range(2 * width):
        y = _scaled(
            values[_scaled(x, 0, 2 * width - 1, len(values) - 1)], low, high, 4 * height - 1
        )
        for between in _span(before, y):
            row, dot = divmod(4 * height - 1 - between, 4)
            cells[row][x // 2] |= _DOTS[dot][x % 2]
        before = y
    labels = {0: f"{high:,.0f}", height - 1: f"{low:,.0f}"}
    gutter = max(map(len, labels.values()))
    lines = [
        f"{labels.get(row, ''):>{gutter}} ┤{''.join(map(chr, line))}"
        for row, line in enumerate(cells)
    ]
    return [*lines, " " * (gutter + 2) + _marked(marks, len(values), width)]


def _span(before: int | None, y: int) -> range:
    """The dots to set so that the curve has no gap."""
    if before is None or abs(y - before) < 2:
        return range(y, y + 1)
    return range(before + 1, y + 1) if y > before else range(y, before)


def _marked(marks: Sequence[int], count: int, width: int) -> str:
    places = {_scaled(mark, 0, count - 1, width - 1) for mark in marks}
    return "".join("▲" if place in places else " " for place in range(width)).rstrip()


def _scaled(value: float, low: float, high: float, top: int) -> int:
    return round((value - low) / (high - low) * top) if high > low else 0


def svg_plot(
    values: Sequence[float], marks: Sequence[int], title: str, ends: tuple[str, str]
) -> str:
    """An SVG drawing of *values*; dashed lines at *marks*, *ends* below the ends of the axis."""
    low, high = min(values), max(values)
    step = 700 / max(len(values) - 1, 1)

    def at(place: int) -> str:
        return f"{70 + place * step:.1f}"

    curve = " ".join(
        f"{at(place)},{340 - _scaled(value, low, high, 3000) / 10:.1f}"
        for place, value in enumerate(values)
    )
    kills = "".join(f'<path d="M{at(mark)} 40V340" class="kill"/>' for mark in marks)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 380">
<style>
text {{ font: 13px sans-serif }}
.curve {{ fill: none; stroke: #1f6feb; stroke-width: 1.8 }}
.axis {{ fill: none; stroke: #888 }}
.kill {{ stroke: #d1242f; stroke-dasharray: 4 3 }}
</style>
<rect width="800" height="380" fill="white"/>
<text x="70" y="24">{title}</text>
<path d="M70 40V340H770" class="axis"/>
{kills}
<polyline points="{curve}" class="curve"/>
<text x="64" y="44" text-anchor="end">{high:,.0f}</text>
<text x="64" y="344" text-anchor="end">{low:,.0f}</text>
<text x="70" y="360">{ends[0]}</text>
<text x="770" y="360" text-anchor="end">{ends[1]}</text>
</svg>
"""
