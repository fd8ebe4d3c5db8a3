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


def against(democtl, runs, seeds):
    words = [democtl, "forecast", "--seeds", seeds, "--output", "json"]
    words += [word for run in runs for word in ("--against", str(run))]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def worst(values):
    """The greatest in size; what has no measured value to compare with is beyond all."""
    return max(values, key=lambda value: float("inf") if value is None else abs(value), default=0.0)


def sign(good):
    return "ok" if good else "**WRONG**"


def off(found):
    """By how many sync periods the steps of all workloads' replicas are off in the mean, and the worst workload's."""
    curves = [curve for curve in found["curves"] if curve["counted"] == "replicas"]
    steps = sum(max(curve["measured_steps"], curve["forecast_steps"]) for curve in curves)
    area = sum(curve["area_s"] for curve in curves)
    return area / max(steps, 1) / SYNC_S, max(curve["shift_syncs"] for curve in curves)


def row(name, found):
    """One run: its cells, and what lies within the limits."""
    tests = found["tests"]
    spike = tests[-1]
    verdict = all(test["verdict"]["measured"] == test["verdict"]["forecast"] for test in tests)
    p95 = worst(test["p95_ms"]["difference"] for test in tests)
    cost = found["cost"]["run_usd"]["difference"]
    shift, most = off(found)
    within = {
        "verdicts": verdict,
        "p95": p95 is not None and abs(p95) <= P95,
        "cost": cost is not None and abs(cost) <= COST,
        "replicas": shift <= SYNCS,
    }
    failed = spike["failed"], spike["requests"]
    rate = [100 * failed[0][side] / max(failed[1][side], 1) for side in ("measured", "forecast")]
    cells = [
        name,
        "/".join(test["verdict"]["measured"] for test in tests) + " " + sign(within["verdicts"]),
        f"{spike['p95_ms']['measured']:.0f}, {spike['p95_ms']['forecast']:.0f} ms",
        (f"{100 * p95:+.1f} % " if p95 is not None else "") + sign(within["p95"]),
        f"{rate[0]:.1f}, {rate[1]:.1f} %",
        (f"{100 * cost:+.1f} % " if cost is not None else "") + sign(within["cost"]),
        f"{shift:.2f} ({most:.2f}) {sign(within['replicas'])}",
    ]
    return cells, within


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("democtl")
    parser.add_argument("runs", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=15)
    args = parser.parse_args()
    profiles = {}
    for path in sorted(args.runs.glob("*/run")):
        if not path.parent.name.endswith(".partial"):
            profiles.setdefault(path.parent.name.rpartition("-")[0], []).append(path)
    if not profiles:
        raise SystemExit(f"no runs in {args.runs}")
    print(
        "| run | verdicts (soak/load/spike) | p95 of the spike: run, forecast | p95, the worst test | failed in the spike:"
        " run, forecast | cost | replicas off by, sync periods (the worst workload) |"
    )
    print("|---|---|---|---|---|---|---|")
    totals = {}
    for path in [path for runs in profiles.values() for path in runs]:
        cells, within = row(path.parent.name, against(args.democtl, [path], str(args.seeds)))
        print("| " + " | ".join(cells) + " |", flush=True)
        for name, good in within.items():
            totals.setdefault(name, []).append(good)
    print("\n| profile | replicas of its runs off by, sync periods (the worst workload) |\n|---|---|")
    for name, runs in profiles.items():
        shift, most = off(against(args.democtl, runs, str(args.seeds)))
        print(f"| {name}, {len(runs)} runs | {shift:.2f} ({most:.2f}) {sign(shift <= SYNCS)} |", flush=True)
        totals.setdefault("replicas of a profile's runs", []).append(shift <= SYNCS)
    print("\nwithin the limits: " + ", ".join(f"{name} {sum(good)} of {len(good)}" for name, good in totals.items()))
    # Chance alone takes single steps in single runs; the three of a profile tell what it does.
    sys.exit(not all(all(good) for name, good in totals.items() if name != "replicas"))


main()
