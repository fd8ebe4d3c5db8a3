# shellcheck shell=bash
# What controllers do: Jobs, garbage, taints, disruption budgets.

expect "create jobs" 0 "job.batch/five created" kubectl create -f "$OBJECTS/jobs.yaml"
expect "a job completes" 0 "=job.batch/five condition met" kubectl wait --for=condition=Complete job/five --timeout=20s
expect "as often as wanted" 0 "=5 CompletionsReached" kubectl get job five \
    -o jsonpath='{.status.succeeded} {.status.conditions[?(@.type=="Complete")].reason}'
expect "get jobs" 0 "^NAME +STATUS +COMPLETIONS +DURATION +AGE"$'\n'"five +Complete +5/5 " kubectl get job five
expect "describe a job" 0 "Completed .*job-controller .*Job completed" kubectl describe job five
expect "its pods stay" 0 "=5" bash -c 'kubectl get pods -l job-name=five --field-selector status.phase=Succeeded -o name | wc -l'
expect "nothing is left to count" 0 "={}" kubectl get job five -o jsonpath='{.status.uncountedTerminatedPods}'
expect "an indexed job completes" 0 "=job.batch/indexed condition met" kubectl wait --for=condition=Complete job/indexed --timeout=20s
expect "each index once" 0 "=0-2" kubectl get job indexed -o jsonpath='{.status.completedIndexes}'
expect "a job fails" 0 "=job.batch/failing condition met" kubectl wait --for=condition=Failed job/failing --timeout=20s
expect "after its retries" 0 "=2 BackoffLimitExceeded" kubectl get job failing \
    -o jsonpath='{.status.failed} {.status.conditions[?(@.type=="Failed")].reason}'
expect "a suspended job waits" 0 "job.batch/later created" kubectl create -f - <<<'{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"later"},"spec":{"suspend":true,"template":{"metadata":{"annotations":{"democtl.dev/run-seconds":"1"}},"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"busybox"}]}}}}'
expect "it says so" 0 "=job.batch/later condition met" kubectl wait --for=condition=Suspended job/later --timeout=10s
expect "resume it" 0 "job.batch/later patched" kubectl patch job later -p '{"spec":{"suspend":false}}'
expect "it completes" 0 "=job.batch/later condition met" kubectl wait --for=condition=Complete job/later --timeout=20s
expect "delete a job" 0 'job.batch "five" deleted' kubectl delete job five
eventually "its pods go" "=No resources found in checks namespace." kubectl get pods -l job-name=five

expect "a config map" 0 "=configmap/parent created" kubectl create configmap parent
parent=$(kubectl get configmap parent -o jsonpath='{.metadata.uid}')
expect "a secret that it owns" 0 "=secret/child created" kubectl create -f - <<<'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"child","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"parent","uid":"'"$parent"'"}]}}'
expect "the owner goes" 0 'configmap "parent" deleted' kubectl delete configmap parent
eventually "the secret too" "=0" bash -c 'kubectl get secret --field-selector metadata.name=child -o name | wc -l'

kubectl create deployment guest --image=nginx --replicas=1 >/dev/null
expect "it runs" 0 "successfully rolled out" kubectl rollout status deploy/guest --timeout=15s
node=$(kubectl get pods -l app=guest -o jsonpath='{.items[0].spec.nodeName}')
expect "taint its node" 0 "=node/$node tainted" kubectl taint node "$node" maintenance=now:NoExecute
eventually "it leaves" "^[^ ]+ [^ ]+$" bash -c "kubectl get pods -l app=guest -o jsonpath='{.items[*].metadata.name} {.items[*].spec.nodeName}' | grep -v '$node'"
expect "the event says why" 0 "TaintManagerEviction" kubectl get events --field-selector reason=TaintManagerEviction
expect "untaint it" 0 "=node/$node untainted" kubectl taint node "$node" maintenance=now:NoExecute-
expect "the guest goes" 0 'deployment.apps "guest" deleted' kubectl delete deployment guest

kubectl create deployment pair --image=nginx --replicas=2 >/dev/null
expect "two of them" 0 "successfully rolled out" kubectl rollout status deploy/pair --timeout=15s
expect "a budget" 0 "=poddisruptionbudget.policy/pair created" kubectl create pdb pair --selector=app=pair --min-available=50%
eventually "one may go" "=2 1 1" kubectl get pdb pair -o jsonpath='{.status.expectedPods} {.status.desiredHealthy} {.status.disruptionsAllowed}'
expect "none may go" 0 "poddisruptionbudget.policy/pair patched" kubectl patch pdb pair --type=merge -p '{"spec":{"minAvailable":"100%"}}'
eventually "the budget is used up" "=0" kubectl get pdb pair -o jsonpath='{.status.disruptionsAllowed}'
node=$(kubectl get pods -l app=pair -o jsonpath='{.items[0].spec.nodeName}')
expect "a drain waits for it" 1 "Cannot evict pod as it would violate the pod's disruption budget" \
    kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data --force --pod-selector=app=pair --timeout=2s
expect "uncordon" 0 "node/$node uncordoned" kubectl uncordon "$node"
expect "the budget goes" 0 'poddisruptionbudget.policy "pair" deleted' kubectl delete pdb pair
expect "the pair goes" 0 'deployment.apps "pair" deleted' kubectl delete deployment pair

space=$(kubectl get scaledobjects -A -o jsonpath='{.items[?(@.metadata.name=="worker")].metadata.namespace}')
metric=$(kubectl get scaledobject worker -n "$space" -o jsonpath='{.status.externalMetricNames[0]}')
external=/apis/external.metrics.k8s.io/v1beta1
expect "an external metric" 0 '"metricName":"'"$metric"'","metricLabels":null,"timestamp":"[^"]+","value":"0"' \
    kubectl get --raw "$external/namespaces/$space/$metric?labelSelector=scaledobject.keda.sh%2Fname%3Dworker"
expect "whose it is must be said" 1 "scaledObject name is not specified" kubectl get --raw "$external/namespaces/$space/$metric"
expect "it is discovered" 0 '"name":"externalmetrics"' kubectl get --raw "$external"
