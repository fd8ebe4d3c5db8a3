# shellcheck shell=bash
# Streams of the demo's own pods, which are processes.

DEMO=reliability-demo
POD=$(kubectl -n $DEMO get pods -l app.kubernetes.io/component=web -o jsonpath='{.items[0].metadata.name}')
expect "logs" 0 ".+" kubectl -n $DEMO logs "$POD"
expect "the last line" 0 "=1" bash -c "kubectl -n $DEMO logs $POD --tail=1 | wc -l"
expect "logs of a deployment" 0 ".+" kubectl -n $DEMO logs deploy/web --tail=5
expect "logs with times" 0 "^[0-9]{4}-[0-9]{2}-[0-9]{2}T" kubectl -n $DEMO logs "$POD" --tail=1 --timestamps
expect "no life before" 1 'previous terminated container "[a-z]+" in pod ".*" not found' kubectl -n $DEMO logs "$POD" --previous
expect "logs of a container that is not there" 1 'container nonsense is not valid for pod' kubectl -n $DEMO logs "$POD" -c nonsense
kubectl -n $DEMO logs -f "$POD" >"$WORK/follow" 2>&1 &
FOLLOW=$!
until_file "." "$WORK/follow"
judge "following logs" 0 $? ".+" "$(cat "$WORK/follow")"
kill -0 $FOLLOW 2>/dev/null
judge "following goes on" 0 $? "=" ""
stop $FOLLOW
expect "exec is refused, with the reason" 1 "exec is not served by the embedded cluster" kubectl -n $DEMO exec "$POD" -- true
