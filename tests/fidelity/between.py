#!/usr/bin/env python3
"""How far the recorded runs of one profile are from each other, by the measure of table.py.

usage: between.py RUNS    (RUNS as record.py leaves it: <profile>-<seed>/run)

Prints Markdown: for each pair of runs the area between their curves of wanted replicas, by the sum of the steps' sizes,
in sync periods.
"""
import itertools
import json
import pathlib
import sys

# The controller manager's sync period.
SYNC_S = 15


def read(run):
    """Each workload's steps (seconds since the run began, from, to), and the run's length."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    begun = next(event["at_s"] for event in events if event["fact"] == "run_started")
    steps = {}
    for event in events:
        if event["fact"] == "replicas":
            steps.setdefault(event["workload"], []).append((event["at_s"] - begun, event["from"], event["to"]))
    return steps, events[-1]["at_s"] - begun


def at(steps, time):
    return next((to for when, _, to in reversed(steps) if when <= time), steps[0][1])


def area(one, other, end):
    # What took no step stood as the other did when the run began.
    one, other = (steps or [(0.0, at(known, 0.0), at(known, 0.0))] for steps, known in ((one, other), (other, one)))
    times = sorted({0.0, end} | {when for when, _, _ in one + other if 0.0 < when < end})
    pairs = zip(times, times[1:])
    return sum(abs(at(one, since) - at(other, since)) * (until - since) for since, until in pairs)


def apart(one, other):
    (one, one_end), (other, other_end) = one, other
    workloads = set(one) | set(other)
    total = sum(area(one.get(name, []), other.get(name, []), min(one_end, other_end)) for name in workloads)
    size = [sum(abs(to - since) for steps in run.values() for _, since, to in steps) for run in (one, other)]
    return total / max(*size, 1) / SYNC_S


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    profiles = {}
    for run in sorted(pathlib.Path(sys.argv[1]).glob("*-*/run")):
        profiles.setdefault(run.parent.name.rpartition("-")[0], []).append(read(run))
    print("| profile | runs apart from each other, sync periods |\n|---|---|")
    for profile, runs in profiles.items():
        pairs = [apart(*pair) for pair in itertools.combinations(runs, 2)]
        print(f"| {profile} | {', '.join(f'{pair:.2f}' for pair in pairs)} |")


if __name__ == "__main__":
    main()
