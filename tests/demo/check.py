#!/usr/bin/env python3
"""Checks the JSON of `democtl demo`: both verdicts, every figure present and plausible."""
import json
import sys

summary = json.load(open(sys.argv[1]))
runs = {run["profile"]: run for run in summary["environments"]}
static, dynamic = runs["m3demo1"], runs["m3demo2"]


def test(run, name):
    return next(t for t in run["tests"] if t["name"] == name)


checks = {
    "m3demo1 fails": static["verdict"] == "fail",
    "m3demo1 fails the spike": test(static, "spike")["verdict"] == "fail",
    "m3demo1 passes the soak": test(static, "soak")["verdict"] == "pass",
    "m3demo1 passes the load": test(static, "load")["verdict"] == "pass",
    "m3demo1 does not scale": static["scaling_events"] == 0,
    "m3demo1 costs $3,000 a month or more": static["cost"]["monthly_usd"] >= 3000,
    "m3demo2 passes": dynamic["verdict"] == "pass",
    "m3demo2 costs $400-600 a month": 400 <= dynamic["cost"]["monthly_usd"] <= 600,
    "m3demo2 scales its web pods": dynamic["peak"]["web"] > dynamic["baseline"]["web"],
    "m3demo2 needs more nodes": dynamic["peak"]["nodes"] > 2,
    "m3demo2 returns to 2 nodes": dynamic["final"]["nodes"] == 2,
    "every test measured requests": all(t["requests"] > 0 for run in runs.values() for t in run["tests"]),
}
failed = [name for name, held in checks.items() if not held]
for name, held in checks.items():
    print("ok  " if held else "FAIL", name)
print(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
sys.exit(bool(failed))
