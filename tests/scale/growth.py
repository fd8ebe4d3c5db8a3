#!/usr/bin/env python3
"""How the time of a forecast day grows with the cluster: growth.py GROWTH [NODES...] [--svg FILE]

GROWTH is target/release/examples/growth (cargo build --release -p democtl-core --example growth). Each size runs three
times; the least CPU time in user mode counts, which other work on the machine touches least.
"""
import math
import resource
import subprocess
import sys

SIZES = [125, 250, 500, 1000]


def measure(program, nodes):
    """Least user seconds of three runs, and what the program told."""
    least, told = math.inf, ""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        told = subprocess.run([program, str(nodes)], check=True, capture_output=True, text=True).stdout.strip()
        least = min(least, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return least, told


def svg(rows):
    """Seconds against nodes, both logarithmic, with n log n through the first point."""
    first, seconds = rows[0][0], rows[0][1]
    law = [(nodes, seconds * nodes * math.log(nodes) / (first * math.log(first))) for nodes, *_ in rows]
    ys = [y for _, y in law] + [row[1] for row in rows]
    low, high = math.log(min(ys)), math.log(max(ys))
    left, right = math.log(first), math.log(rows[-1][0])

    def at(nodes, value):
        x = 60 + 380 * (math.log(nodes) - left) / max(right - left, 1e-9)
        y = 220 - 190 * (math.log(value) - low) / max(high - low, 1e-9)
        return f"{x:.0f},{y:.0f}"

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="480" height="260" font-family="sans-serif" font-size="11">']
    parts.append('<rect width="480" height="260" fill="#fff"/>')
    for colour, points in (("#999", law), ("#06c", [(row[0], row[1]) for row in rows])):
        line = " ".join(at(*point) for point in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{line}"/>')
    for nodes, value, _ in rows:
        x, y = at(nodes, value).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="#06c"/><text x="{x}" y="240">{nodes}</text>')
        parts.append(f'<text x="{x}" y="{int(y) - 6}">{value:.2f} s</text>')
    parts.append('<text x="60" y="256">most nodes that the profile allows; grey: n log n</text></svg>')
    return "\n".join(parts) + "\n"


def main():
    arguments = sys.argv[1:]
    image = None
    if "--svg" in arguments:
        at = arguments.index("--svg")
        image = arguments[at + 1]
        del arguments[at:at + 2]
    if not arguments:
        sys.exit(__doc__)
    rows = []
    for nodes in [int(text) for text in arguments[1:]] or SIZES:
        seconds, told = measure(arguments[0], nodes)
        rows.append((nodes, seconds, told))
        law = seconds / (nodes * math.log2(nodes)) * 1e6
        print(f"| {nodes} | {seconds:.2f} s | {law:.0f} µs | {told} |", flush=True)
    if image:
        with open(image, "w", encoding="utf-8") as file:
            file.write(svg(rows))


if __name__ == "__main__":
    main()
