#!/usr/bin/env python3
"""Verdicts follow from profiles, not from constants: runs altered profiles and checks what changes.

usage: causes.py DEMOCTL [--seeds N]    (about 25 s a row; N seeds of both profiles, with a busy neighbour on one core)
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("democtl")
parser.add_argument("--seeds", type=int, default=0)
args = parser.parse_args()
failed = 0
passed = 0


def run(profile, sets=(), seed=1, tests=("spike",)):
    """The summary of one run of some tests on a fresh environment."""
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, DEMOCTL_HOME=home)
        command = lambda *words: subprocess.run([args.democtl, *words], env=env, capture_output=True, text=True)
        try:
            options = [word for change in sets for word in ("--set", change)]
            made = command("setup", "--profile", profile, "--speed", "15", "--seed", str(seed), *options)
            if made.returncode:
                raise SystemExit(f"setup of {profile} {options} failed:\n{made.stderr}")
            wanted = [word for test in tests for word in ("--test", test)]
            result = command("run-tests", "--output", "json", *wanted)
            if result.returncode not in (0, 99):
                raise SystemExit(f"run-tests on {profile} {options} failed:\n{result.stderr}")
            return json.loads(result.stdout)
        finally:
            command("cleanup", "--all", "--yes")


def row(what, summary, **expected):
    """Prints a row of the table and checks it."""
    global failed, passed
    test = summary["tests"][-1]
    pending = ", ".join(sorted(summary["unschedulable"])) or "-"
    got = {
        "verdict": test["verdict"],
        "pending": "web" in summary["unschedulable"],
        "monthly": round(summary["cost"]["monthly_usd"]),
    }
    held = all(got[key] == value for key, value in expected.items())
    passed, failed = passed + held, failed + (not held)
    print(
        f"| {what} | {summary['peak']['web']} | {pending} | {100 * test['failed_rate']:.1f} % | {test['p95_ms']:.0f} ms "
        f"| {test['verdict']} | ${got['monthly']} | {'ok' if held else f'WRONG, expected {expected}'} |",
        flush=True,
    )


print("| profile | web pods at the peak | Pending | failed | p95 | spike | a month | as expected |")
print("|---|---|---|---|---|---|---|---|")
small = ["workload.web.requests.cpu=500m", "workload.web.requests.memory=1Gi"]
plain = run("m3demo1")
row("m3demo1", plain, verdict="fail", pending=False)
row("m3demo1, 12 web replicas", run("m3demo1", ["workload.web.replicas=12"]), verdict="fail", pending=True)
row("m3demo1, 12 of 500m", run("m3demo1", ["workload.web.replicas=12", *small]), verdict="pass", pending=False)
doubled = 2 * round(plain["cost"]["monthly_usd"], 2)
row("m3demo1, prices doubled", run("m3demo1", ["prices.factor=2"]), verdict="fail", monthly=round(doubled))
row("m3demo2", run("m3demo2"), verdict="pass")
row("m3demo2, max 3 web pods", run("m3demo2", ["workload.web.scaling.max=3"]), verdict="fail")
row("m3demo2-as-written", run("m3demo2-as-written"), verdict="fail")
if args.seeds:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for seed in range(1, args.seeds + 1):
            for profile, verdict in (("m3demo1", "fail"), ("m3demo2", "pass")):
                row(f"{profile}, seed {seed}, a core busy", run(profile, seed=seed), verdict=verdict)
    finally:
        busy.kill()
        busy.wait()
print(f"{passed} passed, {failed} failed")
sys.exit(bool(failed))
