#!/usr/bin/env python3
"""Compares the built-in load engine with k6: both against one server on loopback, the same journeys.

usage: compare.py DEMOCTL ENGINE K6 [--json FILE]
  DEMOCTL  the binary, which serves the demo app (`democtl app web`, `democtl app redis`)
  ENGINE   the built-in engine alone: cargo build --release -p democtl-loadgen --example engine
  K6       k6, without an output of samples, so that only its own work is measured

Four tests, each by both engines, one after the other:
  work    few VUs that do not think, on reads of 0 ms: requests per CPU-second
  crowd   600 VUs that think: memory per VU (peak RSS less that of one VU)
  calm    a load that neither engine nor the server is short of CPU for: the same percentiles
  spike   a ramp beyond what the server can take: the same verdicts
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

def seconds(value):
    return {"secs": int(value), "nanos": round(value % 1 * 1e9)}

def get(path, name):
    return {"kind": "request", "name": name, "method": "GET", "path": path, "body": None, "expect": []}

POST = {"kind": "request", "name": "create", "method": "POST", "path": "/api/customers", "expect": [202],
        "body": '{"name":"Customer ${seq}","email":"c-${vu}-${iter}@example.com"}'}

def think(low, high):
    return {"kind": "think", "min": seconds(low), "max": seconds(high)}

def constant(vus, length):
    return {"kind": "constant-vus", "vus": vus, "duration": seconds(length)}

def below(metric, aggregate, limit):
    return {"metric": metric, "aggregate": aggregate, "op": "Lt", "limit": limit}

def test(name, executor, journey):
    return {"name": name, "executor": executor, "journey": journey, "graceful_stop": seconds(5),
            "thresholds": [below("http_req_failed", "rate", 0.05), below("http_req_duration", {"p": 95.0}, 500)]}

RAMP = {"kind": "ramping-vus", "start_vus": 15, "graceful_ramp_down": seconds(5), "stages": [
    {"duration": seconds(length), "target": target} for length, target in ((2, 400), (6, 400), (1, 15))]}

WORK = test("work", constant(16, 6), [get("/api/health/live", "live")])
ONE = test("one", constant(1, 2), [POST, think(0.5, 0.5)])
CROWD = test("crowd", constant(600, 5), [POST, think(0.7, 1.3)])
CALM = test("calm", constant(60, 10), [POST, think(0.3, 0.5)])
SPIKE = test("spike", RAMP, [POST, think(0.5, 0.5)])

class Server:
    """The demo app and its Redis, each on a free port."""

    def __init__(self, binary, concurrency, queue):
        self.processes = []
        redis, web = free_port(), free_port()
        self.address = f"http://127.0.0.1:{web}"
        settings = {"APP_EXIT_ON_STDIN_EOF": "1", "APP_REDIS_URL": f"redis://127.0.0.1:{redis}", "APP_QUEUE": "q",
                    "APP_CONCURRENCY": str(concurrency), "APP_QUEUE_LIMIT": str(queue)}
        self.start(binary, "redis", settings | {"APP_BIND": f"127.0.0.1:{redis}"})
        wait(lambda: socket.create_connection(("127.0.0.1", redis), 1).close())
        self.start(binary, "web", settings | {"APP_BIND": f"127.0.0.1:{web}"})
        wait(lambda: urllib.request.urlopen(self.address + "/api/health/ready", timeout=1).close())

    def start(self, binary, role, settings):
        self.processes.append(subprocess.Popen([binary, "app", role], env=os.environ | settings,
                                               stdin=subprocess.PIPE, stderr=subprocess.DEVNULL))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()

def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

def wait(condition, limit=20):
    end = time.monotonic() + limit
    while True:
        try:
            return condition()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)

def measured(command, given, directory):
    """Runs a command; yields its exit code, output, CPU seconds, peak RSS in bytes, and what it said last."""
    out, err = (os.path.join(directory, name) for name in ("out", "err"))
    with open(out, "wb") as stdout, open(err, "wb") as stderr, tempfile.TemporaryFile() as stdin:
        stdin.write(given.encode())
        stdin.seek(0)
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
        pid, rss = 0, 0
        while pid == 0:
            # Not ru_maxrss: a child inherits what this Python had at its fork.
            rss = max(rss, high_water(process.pid))
            time.sleep(0.02)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    with open(out) as text, open(err, errors="replace") as said:
        return process.returncode, text.read(), usage.ru_utime + usage.ru_stime, rss, said.read()[-2000:]

def high_water(pid):
    with open(f"/proc/{pid}/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")), 0)

def by_builtin(engine, address, case, directory):
    code, out, cpu, rss, said = measured([engine, address], json.dumps(case), directory)
    if code:
        sys.exit(f"{engine} ended with {code}: {said}")
    result = json.loads(out)
    total = result["total"]
    return {"requests": total["requests"], "failed_rate": total["failed_rate"], "cpu_s": cpu, "rss": rss,
            **{p: total[f"{p}_ms"] for p in ("p50", "p95", "p99")},
            "verdicts": [threshold["verdict"] for threshold in result["thresholds"]]}

def by_k6(k6, engine, address, case, directory):
    script, summary = (os.path.join(directory, name) for name in ("test.js", "summary.json"))
    text = subprocess.run([engine, "--script"], input=json.dumps(case), capture_output=True, text=True, check=True).stdout
    with open(script, "w") as file:
        # The percentiles that are compared, besides those of the thresholds.
        file.write(text.replace('"summaryTrendStats": [', '"summaryTrendStats": ["med", "p(99)",', 1))
    command = [k6, "run", "--no-usage-report", "--quiet", "--address", "", "-e", f"BASE_URL={address}", "-e", "SEED=1",
               "-e", f"SUMMARY={summary}", script]
    code, _, cpu, rss, said = measured(command, "", directory)
    if code not in (0, 99):
        sys.exit(f"k6 ended with {code}: {said}")
    with open(summary) as file:
        metrics = json.load(file)["metrics"]
    took = metrics["http_req_duration"]["values"]
    judged = [all(t["ok"] for t in metrics[m]["thresholds"].values()) for m in ("http_req_failed", "http_req_duration")]
    return {"requests": metrics["http_reqs"]["values"]["count"], "cpu_s": cpu, "rss": rss,
            "failed_rate": metrics["http_req_failed"]["values"]["rate"],
            "p50": took["med"], "p95": took["p(95)"], "p99": took["p(99)"],
            "verdicts": ["pass" if held else "fail" for held in judged]}

def main(democtl, engine, k6, json_file=None):
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for case, concurrency, queue in ((WORK, 100, 100), (ONE, 1000, 1000), (CROWD, 1000, 1000), (CALM, 1000, 1000), (SPIKE, 20, 100)):
            results[case["name"]] = both = {}
            for name, run in (("builtin", lambda a: by_builtin(engine, a, case, directory)),
                              ("k6", lambda a: by_k6(k6, engine, a, case, directory))):
                with Server(democtl, concurrency, queue) as server:
                    both[name] = run(server.address)
    work = {name: r["requests"] / r["cpu_s"] for name, r in results["work"].items()}
    memory = {name: (r["rss"] - results["one"][name]["rss"]) / 599 for name, r in results["crowd"].items()}
    if json_file:
        with open(json_file, "w") as file:
            json.dump({"requests_per_cpu_second": work, "bytes_per_vu": memory, "tests": results}, file, indent=1)
    print(f"{'':30}{'builtin':>12}{'k6':>12}")
    print(f"{'requests per CPU-second':30}{work['builtin']:12.0f}{work['k6']:12.0f}   {work['builtin'] / work['k6']:.1f}x")
    print(f"{'memory per VU, KiB':30}{memory['builtin'] / 1024:12.1f}{memory['k6'] / 1024:12.1f}"
          f"   {memory['k6'] / memory['builtin']:.1f}x")
    for test_name in ("calm", "spike"):
        ours, theirs = results[test_name]["builtin"], results[test_name]["k6"]
        for key in ("requests", "failed_rate", "p50", "p95", "p99"):
            differ = f"{(ours[key] / theirs[key] - 1) * 100:+.1f} %" if theirs[key] else ""
            print(f"{test_name + ' ' + key:30}{ours[key]:12.3f}{theirs[key]:12.3f}   {differ}")
        print(f"{test_name + ' verdicts':30}{'/'.join(ours['verdicts']):>12}{'/'.join(theirs['verdicts']):>12}")
    same = all(results[name]["builtin"]["verdicts"] == results[name]["k6"]["verdicts"] for name in ("calm", "spike"))
    return 0 if same else "the verdicts differ"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    file = arguments.pop(arguments.index("--json") + 1) if "--json" in arguments[:-1] else None
    if file:
        arguments.remove("--json")
    if len(arguments) != 3:
        sys.exit(__doc__)
    sys.exit(main(*arguments, file))
