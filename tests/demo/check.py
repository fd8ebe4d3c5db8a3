#!/usr/bin/env python3
"""Checks `democtl demo --keep --output json`: both verdicts, every figure, and what scaled when, by the runs' own events.

usage: check.py DEMO.JSON
"""
import json
import os
import sys

SYNC = 15  # seconds between two looks of the HPA

summary = json.load(open(sys.argv[1]))
runs = {run["profile"]: run for run in summary["environments"]}
static, dynamic = runs["m3demo1"], runs["m3demo2"]


def test(run, name):
    return next(t for t in run["tests"] if t["name"] == name)


class Timeline:
    """The events of a run, and when its tests began and ended (profile seconds)."""

    def __init__(self, run):
        with open(os.path.join(run["directory"], "events.jsonl")) as lines:
            self.events = [json.loads(line) for line in lines]
        self.begun = {e["test"]: e["at_s"] for e in self.of("test_started")}
        self.ended = {e["test"]: e["at_s"] for e in self.of("test_finished")}

    def of(self, fact, since=0.0, until=float("inf"), **wanted):
        return [
            e
            for e in self.events
            if e["fact"] == fact and since <= e["at_s"] <= until and all(e.get(k) == v for k, v in wanted.items())
        ]

    def within(self, name, fact, **wanted):
        return self.of(fact, self.begun[name], self.ended[name], **wanted)

    def ups(self, name, workload):
        return [e for e in self.within(name, "replicas", workload=workload) if e["to"] > e["from"]]


line = Timeline(dynamic)
surge = line.begun["spike"] + 30  # the first stage only warms up
rise = line.ups("spike", "web")
downs = [e for e in line.of("replicas", line.ended["spike"]) if e["to"] < e["from"]]
removed = line.of("nodes", line.ended["spike"], change="removed")
load_queue = [e["queue"] for e in line.of("sample", line.ended["load"] - 60, line.begun["spike"]) if e["queue"] is not None]

checks = {
    "m3demo1 fails": static["verdict"] == "fail",
    "m3demo1 fails the spike": test(static, "spike")["verdict"] == "fail",
    "m3demo1 passes the soak": test(static, "soak")["verdict"] == "pass",
    "m3demo1 passes the load": test(static, "load")["verdict"] == "pass",
    "m3demo1 does not scale": static["scaling_events"] == 0,
    "m3demo1 costs $3,000 a month or more": static["cost"]["monthly_usd"] >= 3000,
    "m3demo2 passes": dynamic["verdict"] == "pass",
    "m3demo2 costs $400-600 a month": 400 <= dynamic["cost"]["monthly_usd"] <= 600,
    "every test measured requests": all(t["requests"] > 0 for run in runs.values() for t in run["tests"]),
    "soak: no new node": not [e for e in line.within("soak", "nodes") if e["total"] > 2],
    "load: workers follow the queue": bool(line.ups("load", "worker")),
    "load: the queue empties": min(load_queue, default=1) <= 5,
    "spike: web pods rise within two syncs of the surge": bool(rise) and rise[0]["at_s"] <= surge + 2 * SYNC,
    "spike: a node comes for the pods that do not fit": dynamic["peak"]["nodes"] > 2,
    "after: pods go, then the node": bool(downs) and bool(removed) and removed[0]["at_s"] > downs[-1]["at_s"],
    # Its pods fit on other nodes once the first of them are gone, not before.
    "after: the node was unneeded for ten minutes": bool(downs) and bool(removed) and removed[0]["at_s"] >= downs[0]["at_s"] + 600,
    "after: everything is as before": dynamic["final"] == dynamic["baseline"] and dynamic["final"]["nodes"] == 2,
}
failed = [name for name, held in checks.items() if not held]
for name, held in checks.items():
    print("ok  " if held else "FAIL", name)
print(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
sys.exit(bool(failed))
