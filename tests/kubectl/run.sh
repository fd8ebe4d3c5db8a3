#!/usr/bin/env bash
# Asks an unmodified kubectl about the local cluster and checks that it answers as a real one does.
# usage: tests/kubectl/run.sh path/to/democtl
set -u -o pipefail

[ $# -eq 1 ] && [ -x "$1" ] || { echo "usage: $0 path/to/democtl" >&2; exit 2; }
BIN=$(realpath "$1")
HERE=$(dirname "$(realpath "$0")")
OBJECTS=$HERE/objects
WORK=$(mktemp -d)
export DEMOCTL_HOME=$WORK/democtl HOME=$WORK KUBECONFIG=$WORK/kubeconfig
mkdir -p "$DEMOCTL_HOME"

cleanup() {
    local children
    children=$(jobs -p)
    # shellcheck disable=SC2086 # one word for each process
    [ -z "$children" ] || kill $children 2>/dev/null
    "$BIN" cleanup --all --yes >"$WORK/cleanup.log" 2>&1 || { echo "cleanup failed:"; cat "$WORK/cleanup.log"; }
    rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# shellcheck source=tests/kubectl/lib.sh
source "$HERE/lib.sh"

"$BIN" setup --profile m3demo2 --speed 15 >"$WORK/setup.log" 2>&1 || { cat "$WORK/setup.log"; exit 1; }
# A copy: the checks set its namespace.
cp "$("$BIN" kubeconfig)" "$KUBECONFIG" || exit 1
kubectl create -f - <<<'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"checks"}}' >/dev/null || exit 1
kubectl config set-context --current --namespace=checks >/dev/null || exit 1

for file in "$HERE"/checks/*.sh; do
    # shellcheck source=/dev/null
    source "$file"
done

echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
