# shellcheck shell=bash
# What lives and ends: watches, deletion, nodes, jobs, custom resources, pods' streams.

kubectl get cm settings -w -o custom-columns=SEEN:.data.seen --no-headers >"$WORK/watch" 2>&1 &
WATCH=$!
until_file "<none>" "$WORK/watch"
kubectl patch cm settings --type=merge -p '{"data":{"seen":"yes"}}' >/dev/null
until_file yes "$WORK/watch"
judge "a watch sees a change" 0 $? $'=<none>\nyes' "$(cat "$WORK/watch")"
stop $WATCH
kubectl get cm -w --output-watch-events --watch-only >"$WORK/watch" 2>&1 &
WATCH=$!
# Watching starts unseen: ask until it is seen to have begun.
begun() { kubectl annotate cm settings beat="$SECONDS" --overwrite >/dev/null; until_file MODIFIED "$WORK/watch"; }
begun
kubectl create configmap passing >/dev/null && kubectl delete configmap passing >/dev/null
until_file "DELETED +passing" "$WORK/watch"
judge "a watch sees additions and deletions" 0 $? $'ADDED +passing.*\nDELETED +passing' "$(cat "$WORK/watch")"
stop $WATCH

expect "delete" 0 '=configmap "settings" deleted' kubectl delete cm settings
expect "delete what is not there" 1 '=Error from server (NotFound): configmaps "settings" not found' kubectl delete cm settings
expect "delete what may not be there" 0 "=" kubectl delete cm settings --ignore-not-found
expect "delete as a dry run" 0 '=secret "token" deleted (server dry run)' kubectl delete secret token --dry-run=server
expect "delete by label" 0 '"api" deleted' kubectl delete svc -l app=api
expect "a finalizer holds" 0 "=configmap/held created" kubectl create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","finalizers":["example.com/hold"]}}'
expect "delete without waiting" 0 '=configmap "held" deleted' kubectl delete cm held --wait=false
expect "it is still there, ending" 0 '[0-9]{4}-' kubectl get cm held -o jsonpath='{.metadata.deletionTimestamp}'
kubectl wait --for=delete cm/held --timeout=10s >"$WORK/gone" 2>&1 &
WAIT=$!
expect "let it go" 0 "=configmap/held patched" kubectl patch cm held --type=merge -p '{"metadata":{"finalizers":null}}'
wait $WAIT
judge "wait for a deletion" 0 $? "condition met|^$" "$(cat "$WORK/gone")"
expect "it is gone" 1 "NotFound" kubectl get cm held

RS=$(kubectl get rs -l app=api -o name | head -1)
expect "delete and leave orphans" 0 '=deployment.apps "api" deleted' kubectl delete deploy api --cascade=orphan
expect "the orphan stays" 0 "=$RS" kubectl get "$RS" -o name
eventually "the orphan has no owner" "=" kubectl get "$RS" -o jsonpath='{.metadata.ownerReferences}'
expect "delete the orphan" 0 'deleted' kubectl delete rs -l app=api
kubectl create deployment front --image=nginx >/dev/null
eventually "it made its set" "=1" kubectl get deploy front -o jsonpath='{.status.replicas}'
expect "delete in the foreground" 0 '=deployment.apps "front" deleted' kubectl delete deploy front --cascade=foreground
expect "nothing of it is left" 0 "=" kubectl get rs,pods -l app=front -o name
kubectl create deployment back --image=nginx >/dev/null
eventually "it made its set too" "=1" kubectl get deploy back -o jsonpath='{.status.replicas}'
expect "delete in the background" 0 '=deployment.apps "back" deleted' kubectl delete deploy back --cascade=background
eventually "its dependents follow" "=" kubectl get rs,pods -l app=back -o name
expect "delete a namespace" 0 '=namespace "other" deleted' kubectl delete namespace other --timeout=15s

NODE=$(kubectl get pods -l app=web -o jsonpath='{.items[0].spec.nodeName}')
expect "cordon" 0 "=node/$NODE cordoned" kubectl cordon "$NODE"
expect "it is seen" 0 "^$NODE +Ready,SchedulingDisabled" kubectl get node "$NODE" --no-headers
expect "drain" 0 "evicting pod checks/web-.*node/$NODE drained" bash -c "kubectl drain $NODE --pod-selector=app=web --ignore-daemonsets --timeout=15s | tr '\n' ' '"
expect "uncordon" 0 "=node/$NODE uncordoned" kubectl uncordon "$NODE"
expect "taint" 0 "=node/$NODE tainted" kubectl taint node "$NODE" checks=yes:PreferNoSchedule
expect "taint again" 1 "already has checks taint|Node $NODE already has" kubectl taint node "$NODE" checks=no:PreferNoSchedule
expect "untaint" 0 "=node/$NODE untainted" kubectl taint node "$NODE" checks-
eventually "top nodes" "NAME +CPU\(cores\) +CPU(\(%\)|%) +MEMORY\(bytes\) +MEMORY(\(%\)|%) *"$'\n'".*[0-9]+m" kubectl top nodes
eventually "top pods" "NAMESPACE +NAME +CPU\(cores\) +MEMORY\(bytes\) *"$'\n'".*[0-9]+m" kubectl top pods -A

expect "create a job" 0 "=job.batch/once created" kubectl create job once --image=busybox -- true
expect "a job's columns" 0 "NAME +STATUS +COMPLETIONS +DURATION +AGE"$'\n'"once " kubectl get jobs
expect "delete a job" 0 '=job.batch "once" deleted' kubectl delete job once

expect "define a resource" 0 "=customresourcedefinition.apiextensions.k8s.io/widgets.example.com created" kubectl apply -f "$OBJECTS/crd.yaml"
expect "it is established" 0 "condition met" kubectl wait --for=condition=Established crd/widgets.example.com --timeout=10s
expect "an object of it" 0 "=widget.example.com/one created" kubectl apply -f "$OBJECTS/widget.yaml"
expect "its default" 0 "=blue" kubectl get widget one -o jsonpath='{.spec.colour}'
expect "its columns, by its short name" 0 $'^NAME +SIZE\none +3' kubectl get wd
expect "beyond its maximum" 1 'The Widget "one" is invalid: spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10' kubectl patch widget one --type=merge -p '{"spec":{"size":11}}'
expect "outside its enum" 1 'spec.colour: Unsupported value: "green": supported values: "blue", "red"' kubectl patch widget one --type=merge -p '{"spec":{"colour":"green"}}'
expect "of the wrong type" 1 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"' kubectl patch widget one --type=merge -p '{"spec":{"size":"x"}}'
expect "without what it requires" 1 'spec.size: Required value' kubectl create -f - <<<'{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"two"},"spec":{}}'
expect "no strategic patch of it" 1 "UnsupportedMediaType|application/strategic-merge-patch\+json is not supported" kubectl patch widget one --type=strategic -p '{"spec":{"size":4}}'
expect "its status apart" 0 "=widget.example.com/one patched" kubectl patch widget one --subresource=status --type=merge -p '{"status":{"phase":"Ready"},"spec":{"size":9}}'
expect "only the status" 0 "=3 Ready" kubectl get widget one -o jsonpath='{.spec.size} {.status.phase}'
expect "explain it" 0 "How large it is" kubectl explain widget.spec.size
expect "undefine it" 0 "deleted" kubectl delete crd widgets.example.com --timeout=15s
expect "its objects are unknown" 1 "doesn't have a resource type|could not find the requested resource" kubectl get widgets

