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

# forward TARGET PORTS [KEY=VALUE...]: forwards in the background, its words in $WORK/forward; sets FORWARD and LOCAL.
forward() {
    local target=$1 ports=$2
    shift 2
    # What the forward before said is not mistaken for this one's words.
    : >"$WORK/forward"
    env "$@" kubectl -n $DEMO port-forward "$target" "$ports" >"$WORK/forward" 2>&1 &
    FORWARD=$!
    until_file "^Forwarding from 127" "$WORK/forward" || failed "forward $target" "$(cat "$WORK/forward")"
    LOCAL=$(sed -nE 's/^Forwarding from 127\.0\.0\.1:([0-9]+) .*/\1/p' "$WORK/forward" | head -1)
}
# page PORT PATH: what an HTTP server on this machine says.
page() {
    local connection
    exec {connection}<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$2" >&"$connection"
    cat <&"$connection"
    exec {connection}>&-
}
export -f page

forward "pod/$POD" :8080
judge "port-forward says where" 0 0 "Forwarding from 127.0.0.1:[0-9]+ -> 8080" "$(cat "$WORK/forward")"
expect "a pod's port" 0 "HTTP/1.1 200 OK.*ready" bash -c "page $LOCAL /api/health/ready"
expect "many connections to a pod's port" 0 "=50" bash -c "for i in {1..50}; do page $LOCAL /metrics & done | grep -c '^HTTP/1.1 200'"
stop $FORWARD
forward "pod/$POD" :8080 KUBECTL_PORT_FORWARD_WEBSOCKETS=false
expect "a pod's port over plain SPDY" 0 "HTTP/1.1 200 OK.*ready" bash -c "page $LOCAL /api/health/ready"
stop $FORWARD
forward svc/web :80
judge "a service's port is its pods'" 0 0 "-> 8080" "$(cat "$WORK/forward")"
expect "by way of a service" 0 "HTTP/1.1 200 OK.*ready" bash -c "page $LOCAL /api/health/ready"
stop $FORWARD
forward deploy/web :http
expect "by way of a deployment, the port by its name" 0 "HTTP/1.1 200 OK.*ready" bash -c "page $LOCAL /api/health/ready"
stop $FORWARD
forward "pod/$POD" :1
expect "nothing comes from a port that nobody listens on" 0 "=0" bash -c "page $LOCAL / | wc -c"
until_file "lost connection|error occurred" "$WORK/forward"
judge "and it is said" 0 $? 'error forwarding port 1 to pod .*: connection refused' "$(cat "$WORK/forward")"
stop $FORWARD
kubectl create -f - >/dev/null <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"roomless"},"spec":{"containers":[{"name":"c","image":"pause","resources":{"requests":{"cpu":"1000"}}}]}}'
expect "a pod that does not run has no ports" 1 "unable to forward port because pod is not running. Current status=" kubectl port-forward --pod-running-timeout=1s roomless :80
expect "nor has it when asked for directly" 1 "pod roomless does not have a host assigned" kubectl get --raw /api/v1/namespaces/checks/pods/roomless/portforward
expect "an upgrade is asked for" 1 "Upgrade request required" kubectl get --raw "/api/v1/namespaces/$DEMO/pods/$POD/portforward"
expect "a pod that is not there" 1 'pods "nobody" not found' kubectl port-forward nobody :80
kubectl delete pod roomless --wait=false >/dev/null
