#!/usr/bin/env python3
"""Records real local runs for docs/fidelity.md: seven profiles, each with three seeds.

usage: record.py DEMOCTL OUT [--seeds N]    (about 2 minutes a run; what OUT has already is kept)

OUT/<profile>-<seed>/ gets summary.json, as `run-tests --output json` prints it, and run/, the run's directory.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import tempfile

ROWS = {
    "m3demo1": ("m3demo1", []),
    "m3demo1-12-small": (
        "m3demo1",
        ["workload.web.replicas=12", "workload.web.requests.cpu=500m", "workload.web.requests.memory=1Gi"],
    ),
    "m3demo2": ("m3demo2", []),
    "m3demo2-max-3": ("m3demo2", ["workload.web.scaling.max=3"]),
    "m3demo2-large-pods": ("m3demo2", ["workload.web.requests.cpu=1500m"]),
    "m3demo2-one-worker": ("m3demo2", ["workload.worker.scaling.max=1"]),
    "m3demo2-as-written": ("m3demo2-as-written", []),
}


def record(democtl, profile, sets, seed, out):
    """Runs the suite once on a fresh environment and keeps what it left."""
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, DEMOCTL_HOME=home)

        def command(*words):
            return subprocess.run([democtl, *words], env=env, capture_output=True, text=True)

        try:
            options = [word for change in sets for word in ("--set", change)]
            made = command("setup", "--profile", profile, "--speed", "15", "--seed", str(seed), *options)
            if made.returncode:
                raise SystemExit(f"setup of {profile} {options} failed:\n{made.stderr}")
            ran = command("run-tests", "--output", "json")
            if ran.returncode not in (0, 99):
                raise SystemExit(f"run-tests on {profile} {options} failed:\n{ran.stderr}")
            (run,) = pathlib.Path(home).glob("environments/*/runs/*")
            partial = out.with_name(out.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(run, partial / "run")
            (partial / "summary.json").write_text(ran.stdout)
            partial.rename(out)
        finally:
            command("cleanup", "--all", "--yes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("democtl")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(1, args.seeds + 1):
        for name, (profile, sets) in ROWS.items():
            out = args.out / f"{name}-{seed}"
            if not out.exists():
                record(os.path.abspath(args.democtl), profile, sets, seed, out)
                print(f"{out.name} recorded", flush=True)


main()
