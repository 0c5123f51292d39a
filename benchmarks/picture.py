"""Pictures of result tables, as SVG that any browser shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from compression.report.charts import round_ticks

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 20, 50
"""Margins; the one at the right is for the names of the points there."""
LINE, NEAR = 14, 150
"""Height of a name, and width of most."""


@dataclass(frozen=True, slots=True)
class Point:
    name: str
    x: float
    y: float


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Named points, of both values the higher the better; a line joins those that no other beats in both."""
    x_ticks, y_ticks = (
        round_ticks(min(values), max(values)) for values in ([p.x for p in points], [p.y for p in points])
    )

    def place(point: Point) -> tuple[float, float]:
        across = (point.x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (point.y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x_ticks:
        x, _ = place(Point("", tick, y_ticks[0]))
        lines.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:.4g}</text>')
    for tick in y_ticks:
        _, y = place(Point("", x_ticks[0], tick))
        lines.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    lines.append(
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>'
    )
    middle = (TOP + bottom) / 2
    lines.append(
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    path = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in front(points))
    lines.append(f'<polyline points="{path}" fill="none" stroke="#b45309" stroke-dasharray="4 3"/>')
    placed = [(point, *place(point)) for point in points]
    for (point, x, y), name_y in zip(placed, names_apart([(x, y) for _, x, y in placed]), strict=True):
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1d4ed8"/>')
        lines.append(f'<text x="{x + 8:.1f}" y="{name_y + 4:.1f}">{escape(point.name)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both values, from left to right."""

    def beaten(point: Point) -> Iterator[bool]:
        for other in points:
            yield other.x >= point.x and other.y >= point.y and (other.x, other.y) != (point.x, point.y)

    return sorted((point for point in points if not any(beaten(point))), key=lambda point: point.x)


def names_apart(places: Sequence[tuple[float, float]]) -> list[float]:
    """Heights for the names of points: their own, moved down as far as names above need that begin near by."""
    apart: dict[int, float] = {}
    for i in sorted(range(len(places)), key=lambda i: places[i][1]):
        x, y = places[i]
        for other, taken in apart.items():
            if abs(places[other][0] - x) < NEAR and y < taken + LINE:
                y = taken + LINE
        apart[i] = y
    return [apart[i] for i in range(len(places))]
