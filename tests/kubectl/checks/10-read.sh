# shellcheck shell=bash
# What a reader sees: outputs, selectors, discovery, explanations.

expect "create from a file" 0 "=deployment.apps/web created" kubectl create -f "$OBJECTS/web.yaml"
expect "create twice" 1 'Error from server \(AlreadyExists\): .*deployments.apps "web" already exists' kubectl create -f "$OBJECTS/web.yaml"
expect "rollout status" 0 'deployment "web" successfully rolled out' kubectl rollout status deploy/web --timeout=15s
expect "wait for a condition" 0 "=deployment.apps/web condition met" kubectl wait --for=condition=Available deploy/web --timeout=10s
expect "wait for a jsonpath" 0 "=deployment.apps/web condition met" kubectl wait --for=jsonpath='{.status.readyReplicas}'=2 deploy/web --timeout=10s
expect "wait times out" 1 "timed out waiting for the condition" kubectl wait --for=condition=Nonsense deploy/web --timeout=1s

expect "get" 0 "^NAME +READY +UP-TO-DATE +AVAILABLE +AGE"$'\n'"web +2/2 +2 +2 +[0-9]+" kubectl get deploy
expect "get wide" 0 "CONTAINERS +IMAGES +SELECTOR"$'\n'"web .* nginx +nginx:1.27 +app=web" kubectl get deploy web -o wide
expect "get pods wide" 0 "NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES" kubectl get pods -o wide
expect "get json" 0 '"kind": "Deployment"' kubectl get deploy web -o json
expect "get yaml" 0 $'^apiVersion: apps/v1\nkind: Deployment' kubectl get deploy web -o yaml
expect "managed fields are hidden" 1 "=" bash -c 'kubectl get deploy web -o yaml | grep managedFields'
expect "managed fields are shown" 0 "manager: kubectl-create" kubectl get deploy web -o yaml --show-managed-fields
expect "get name" 0 "=deployment.apps/web" kubectl get deploy -o name
expect "get jsonpath" 0 "=nginx:1.27" kubectl get deploy web -o jsonpath='{.spec.template.spec.containers[0].image}'
expect "defaults are filled in" 0 "=RollingUpdate 25% 10 600" kubectl get deploy web \
    -o jsonpath='{.spec.strategy.type} {.spec.strategy.rollingUpdate.maxSurge} {.spec.revisionHistoryLimit} {.spec.progressDeadlineSeconds}'
expect "get custom columns" 0 $'=WHO   MANY\nweb   2' kubectl get deploy -o custom-columns=WHO:.metadata.name,MANY:.spec.replicas
expect "get go-template" 0 "=web" kubectl get deploy web -o go-template='{{.metadata.name}}'
expect "show labels" 0 "LABELS"$'\n'"web .* app=web" kubectl get deploy --show-labels
expect "label columns" 0 "APP"$'\n'"web .* web" kubectl get deploy -L app
expect "no headers" 0 "^web " kubectl get deploy --no-headers
expect "equality selector" 0 "=2" bash -c 'kubectl get pods -l app=web -o name | wc -l'
expect "set selector" 0 "=2" bash -c "kubectl get pods -l 'app in (web,api),!absent' -o name | wc -l"
expect "selector that finds nothing" 0 "=No resources found in checks namespace." kubectl get pods -l app=none
expect "malformed selector" 1 "unable to parse requirement|found '='" kubectl get pods -l 'app==='
expect "field selector by phase" 0 "=2" bash -c 'kubectl get pods --field-selector status.phase=Running -o name | wc -l'
expect "field selector by name" 0 "=deployment.apps/web" kubectl get deploy --field-selector metadata.name=web -o name
expect "unknown field selector" 1 'field label not supported' kubectl get pods --field-selector spec.nonsense=1
expect "all namespaces" 0 "^NAMESPACE +NAME .*checks +web " bash -c "kubectl get deploy -A | tr '\n' ' '"
expect "sorted" 0 "^(namespace/.*)+namespace/kube-system" kubectl get namespaces --sort-by=.metadata.name -o name
expect "in pages" 0 "=same" bash -c '[ "$(kubectl get pods -A -o name --chunk-size=1 | sort)" = "$(kubectl get pods -A -o name --chunk-size=0 | sort)" ] && echo same'
expect "several kinds" 0 "deployment.apps/web.*" kubectl get deploy,rs,pods -o name
expect "all" 0 "deployment.apps/web .*replicaset.apps/web-" bash -c "kubectl get all | tr '\n' ' '"
expect "not found" 1 '=Error from server (NotFound): deployments.apps "absent" not found' kubectl get deploy absent
expect "unknown kind" 1 'the server doesn.t have a resource type "gadgets"' kubectl get gadgets
expect "ignore not found" 0 "=" kubectl get deploy absent --ignore-not-found
expect "nodes" 0 "NAME +STATUS +ROLES +AGE +VERSION"$'\n'".* Ready " kubectl get nodes

expect "describe a deployment" 0 "StrategyType: +RollingUpdate.*Image: +nginx:1.27.*ScalingReplicaSet" bash -c "kubectl describe deploy web | tr '\n' ' '"
expect "describe a pod" 0 "Controlled By: +ReplicaSet/web-.*QoS Class: +Burstable.*Scheduled" bash -c "kubectl describe pods -l app=web | tr '\n' ' '"
expect "describe a node" 0 "Capacity:.*Allocatable:.*Non-terminated Pods:.*Allocated resources:" bash -c "kubectl describe nodes | tr '\n' ' '"
expect "events" 0 "LAST SEEN +TYPE +REASON +OBJECT +MESSAGE.*ScalingReplicaSet" bash -c "kubectl events | tr '\n' ' '"
expect "events of one" 0 "ScalingReplicaSet +Deployment/web +Scaled up replica set web-.* to 2" kubectl events --for deploy/web
expect "events as a resource" 0 "Scheduled +pod/web-" kubectl get events --sort-by=.lastTimestamp

expect "version" 0 "Server Version: v1\.[0-9]+" kubectl version
expect "cluster-info" 0 "Kubernetes control plane.* is running at .*https://127" kubectl cluster-info
expect "api-resources" 0 "deployments +deploy +apps/v1 +true +Deployment" kubectl api-resources
expect "api-resources of a group" 0 "scaledobjects.keda.sh" kubectl api-resources --api-group=keda.sh --namespaced -o name
expect "api-versions" 0 "autoscaling/v2" kubectl api-versions
expect "explain" 0 "KIND: +Deployment.*VERSION: +v1.*FIELD: replicas <integer>" bash -c "kubectl explain deployment.spec.replicas | tr '\n' ' '"
expect "explain a field that is not there" 1 'field "nonsense" does not exist' kubectl explain deployment.spec.nonsense
expect "explain a scaled object" 0 "GROUP: +keda.sh.*KIND: +ScaledObject.*pollingInterval" bash -c "kubectl explain scaledobjects.spec | tr '\n' ' '"
expect "raw version" 0 '"gitVersion": ?"v1' kubectl get --raw /version
expect "raw health" 0 "=ok" kubectl get --raw /readyz
expect "raw list with a limit" 0 '"continue": ?"[^"]+"' kubectl get --raw '/api/v1/pods?limit=1'
expect "raw path that is not there" 1 "NotFound" kubectl get --raw /apis/none.example.com/v1
expect "may I" 0 "=yes" kubectl auth can-i create deployments
expect "may all" 0 "=yes" kubectl auth can-i '*' '*'
expect "may another" 1 "=no" kubectl auth can-i create deployments --as=nobody
expect "who am I" 0 "Username +[a-z].*system:masters" bash -c "kubectl auth whoami | tr '\n' ' '"
expect "forbidden" 1 'Error from server \(Forbidden\): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "checks"' kubectl get pods --as=nobody
