#!/usr/bin/env python3
"""Times a local cluster: set-up to ready, then 10,000 pods created, watched and listed (no processes: no scheduler takes
them). Prints figures; fails only when something is lost.

usage: pods.py DEMOCTL [--pods N] [--connections N]
"""
import argparse
import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("democtl")
parser.add_argument("--pods", type=int, default=10_000)
parser.add_argument("--connections", type=int, default=4)
args = parser.parse_args()
PATH = "/api/v1/namespaces/default/pods"


class Cluster:
    """What a kubeconfig tells."""

    def __init__(self, kubeconfig):
        text = open(kubeconfig).read()
        field = lambda name: re.search(rf"{name}: *\"?([^\s\"]+)", text)[1]
        self.host, port = field("server").removeprefix("https://").split(":")
        self.port = int(port)
        self.tls = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
        with tempfile.NamedTemporaryFile("w") as pair:
            pair.write(base64.b64decode(field("client-certificate-data")).decode())
            pair.write(base64.b64decode(field("client-key-data")).decode())
            pair.flush()
            self.tls.load_cert_chain(pair.name)

    def connect(self):
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls)


def call(connection, method, path, body=None):
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {data[:300]}")
    return json.loads(data)


def measure(cluster):
    created, seen = {}, {}
    listing = call(cluster.connect(), "GET", PATH + "?limit=1")
    version = listing["metadata"]["resourceVersion"]

    def watch():
        connection = cluster.connect()
        connection.request("GET", f"{PATH}?watch=true&resourceVersion={version}")
        answer = connection.getresponse()
        while len(seen) < args.pods:
            line = answer.readline()
            at = time.perf_counter()
            event = json.loads(line)
            if event["type"] == "ADDED":
                seen[event["object"]["metadata"]["name"]] = at

    def create(first):
        connection = cluster.connect()
        for number in range(first, args.pods, args.connections):
            container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": "1m"}}}
            spec = {"schedulerName": "nobody", "containers": [container]}
            call(connection, "POST", PATH, {"metadata": {"name": f"p{number}", "labels": {"n": str(number % 10)}}, "spec": spec})
            created[f"p{number}"] = time.perf_counter()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    begun = time.perf_counter()
    threads = [threading.Thread(target=create, args=(first,)) for first in range(args.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    watching.join(60)
    assert len(seen) == args.pods, f"the watch saw {len(seen)} of {args.pods}"
    lags = sorted(seen[name] - created[name] for name in created)
    print(f"created {args.pods} pods in {took:.2f} s over {args.connections} connections ({args.pods / took:.0f}/s)")
    print(f"watch lag behind the answer to the create: p50 {1000 * lags[len(lags) // 2]:.1f} ms, "
          f"p99 {1000 * lags[len(lags) * 99 // 100]:.1f} ms")
    connection = cluster.connect()
    begun = time.perf_counter()
    assert len(call(connection, "GET", PATH)["items"]) == args.pods
    print(f"listed whole in {time.perf_counter() - begun:.2f} s (with Python's decoding)")
    begun, pages, token, total = time.perf_counter(), 0, "", 0
    while True:
        page = call(connection, "GET", f"{PATH}?limit=500&continue={token}")
        pages, total, token = pages + 1, total + len(page["items"]), page["metadata"].get("continue", "")
        if not token:
            break
    assert total == args.pods, f"pages held {total}"
    print(f"listed in {pages} pages of 500 in {time.perf_counter() - begun:.2f} s")
    begun = time.perf_counter()
    assert len(call(connection, "GET", PATH + "?labelSelector=n%3D3")["items"]) == args.pods // 10
    print(f"a tenth by label in {time.perf_counter() - begun:.2f} s")


with tempfile.TemporaryDirectory() as home:
    env = dict(os.environ, DEMOCTL_HOME=home)
    try:
        begun = time.perf_counter()
        subprocess.run([args.democtl, "setup", "--profile", "m3demo2", "--speed", "15"], env=env, check=True, capture_output=True)
        print(f"set up, nodes Ready and the app answering in {time.perf_counter() - begun:.2f} s")
        kubeconfig = subprocess.run([args.democtl, "kubeconfig"], env=env, check=True, capture_output=True, text=True)
        measure(Cluster(kubeconfig.stdout.strip()))
    finally:
        subprocess.run([args.democtl, "cleanup", "--all", "--yes"], env=env, check=True, capture_output=True)
