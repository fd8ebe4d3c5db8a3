#!/usr/bin/env python3
"""The table of docs/fidelity.md: recorded local runs beside their forecasts.

usage: table.py DEMOCTL RUNS    (RUNS as record.py leaves it: <profile>-<seed>/run)

Prints Markdown; exits 1 when a run lies outside the limits.
"""
import argparse
import json
import pathlib
import subprocess
import sys

# The forecast must come as near as this to what was measured.
P95, SYNCS, COST = 0.15, 1.0, 0.05
# The controller manager's sync period.
SYNC_S = 15


def against(democtl, run, seeds):
    words = [democtl, "forecast", "--against", str(run), "--seeds", seeds, "--output", "json"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def worst(values):
    """The greatest in size; what has no measured value to compare with is beyond all."""
    return max(values, key=lambda value: float("inf") if value is None else abs(value), default=0.0)


def row(name, found):
    """One run: its cells, and whether it lies within the limits."""
    tests = found["tests"]
    spike = tests[-1]
    verdict = all(test["verdict"]["measured"] == test["verdict"]["forecast"] for test in tests)
    p95 = worst(test["p95_ms"]["difference"] for test in tests)
    curves = [curve for curve in found["curves"] if curve["counted"] == "replicas"]
    steps = sum(max(curve["measured_steps"], curve["forecast_steps"]) for curve in curves)
    # The mean over the steps of all workloads, and the workload whose steps are off most.
    shift = sum(curve["area_s"] for curve in curves) / max(steps, 1) / SYNC_S
    most = max(curve["shift_syncs"] for curve in curves)
    cost = found["cost"]["run_usd"]["difference"]

    def sign(good):
        return "ok" if good else "**WRONG**"

    checks = [
        verdict,
        p95 is not None and abs(p95) <= P95,
        shift <= SYNCS,
        cost is not None and abs(cost) <= COST,
    ]
    failed = spike["failed"], spike["requests"]
    rate = [100 * failed[0][side] / max(failed[1][side], 1) for side in ("measured", "forecast")]
    cells = [
        name,
        "/".join(test["verdict"]["measured"] for test in tests) + " " + sign(checks[0]),
        f"{spike['p95_ms']['measured']:.0f}, {spike['p95_ms']['forecast']:.0f} ms",
        f"{100 * p95:+.1f} % {sign(checks[1])}" if p95 is not None else sign(False),
        f"{rate[0]:.1f}, {rate[1]:.1f} %",
        f"{shift:.2f} {sign(checks[2])} ({most:.2f})",
        f"{100 * cost:+.1f} % {sign(checks[3])}" if cost is not None else sign(False),
    ]
    return cells, checks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("democtl")
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=15)
    args = parser.parse_args()
    runs = sorted(path.parent for path in args.runs.glob("*/run") if not path.parent.name.endswith(".partial"))
    if not runs:
        raise SystemExit(f"no runs in {args.runs}")
    print(
        "| run | verdicts (soak/load/spike) | p95 of the spike: run, forecast | p95, the worst test | failed in the spike:"
        " run, forecast | replicas off by, sync periods (the worst workload) | cost |"
    )
    print("|---|---|---|---|---|---|---|")
    totals = [0, 0, 0, 0, 0]
    for path in runs:
        cells, checks = row(path.name, against(args.democtl, path / "run", str(args.seeds)))
        print("| " + " | ".join(cells) + " |", flush=True)
        totals = [total + good for total, good in zip(totals, [*checks, all(checks)])]
    names = ["verdicts", "p95", "replicas", "cost", "all four"]
    print(f"\nof {len(runs)} runs: " + ", ".join(f"{name} {total}" for name, total in zip(names, totals)))
    sys.exit(totals[-1] < len(runs))


main()
