# shellcheck shell=bash
# What a writer does: apply, patch, edit, replace, scale, roll out, label.

expect "create a config map" 0 "=configmap/settings created" kubectl create configmap settings --from-literal=a=1 --from-literal=b=2
expect "create a secret" 0 "=secret/token created" kubectl create secret generic token --from-literal=key=value
expect "a secret is base64" 0 "=dmFsdWU=" kubectl get secret token -o jsonpath='{.data.key}'
expect "describe hides a secret" 0 "key: +5 bytes" kubectl describe secret token
expect "create a namespace" 0 "=namespace/other created" kubectl create namespace other
expect "create a deployment" 0 "=deployment.apps/api created" kubectl create deployment api --image=nginx:1.27 --replicas=1
expect "create a service" 0 "=service/api created" kubectl create service clusterip api --tcp=80:80
expect "expose" 0 "=service/web exposed" kubectl expose deploy web --port=80
# The API warns that Endpoints are deprecated, as the real one does, and kubectl prints it.
eventually "a service has endpoints" "(^|[[:space:]])[0-9.]+ [0-9.]+$" kubectl get endpoints web -o jsonpath='{.subsets[0].addresses[*].ip}'
expect "describe a service" 0 "Selector: +app=web.*Type: +ClusterIP.*Endpoints: +[0-9.]+:80" bash -c "kubectl describe svc web | tr '\n' ' '"
expect "create a service account" 0 "=serviceaccount/robot created" kubectl create serviceaccount robot
expect "client dry run" 0 "=deployment.apps/dry created (dry run)" kubectl create deployment dry --image=nginx --dry-run=client
expect "client dry run, as yaml" 0 "image: nginx" kubectl create deployment dry --image=nginx --dry-run=client -o yaml
expect "server dry run" 0 "=deployment.apps/dry created (server dry run)" kubectl create deployment dry --image=nginx --dry-run=server
expect "a dry run leaves nothing" 1 "NotFound" kubectl get deploy dry
expect "generateName" 0 "^configmap/made-[a-z0-9]{5} created$" kubectl create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"}}'

expect "client-side apply creates" 0 "=configmap/applied created" kubectl apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1","b":"2"}}'
expect "client-side apply of the same" 0 "=configmap/applied unchanged" kubectl apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1","b":"2"}}'
expect "diff" 1 $'-  b: "2"\n\\+  c: "3"' kubectl diff -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1","c":"3"}}'
expect "client-side apply changes" 0 "=configmap/applied configured" kubectl apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1","c":"3"}}'
expect "apply removes what is no longer said" 0 '={"a":"1","c":"3"}' kubectl get cm applied -o jsonpath='{.data}'
expect "diff of nothing" 0 "=" kubectl diff -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"a":"1","c":"3"}}'
expect "server-side apply" 0 "=configmap/shared serverside-applied" kubectl apply --server-side --field-manager=one -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shared"},"data":{"a":"1"}}'
expect "server-side apply conflicts" 1 'conflict with "one": .data.a' kubectl apply --server-side --field-manager=two -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shared"},"data":{"a":"2"}}'
expect "server-side apply by force" 0 "=configmap/shared serverside-applied" kubectl apply --server-side --field-manager=two --force-conflicts -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shared"},"data":{"a":"2"}}'
expect "the winner owns the field" 0 "=two" kubectl get cm shared -o jsonpath='{.metadata.managedFields[?(@.operation=="Apply")].manager}' --show-managed-fields

expect "merge patch" 0 "=configmap/settings patched" kubectl patch cm settings --type=merge -p '{"data":{"a":"9","b":null}}'
expect "what it did" 0 '={"a":"9"}' kubectl get cm settings -o jsonpath='{.data}'
expect "json patch" 0 "=configmap/settings patched" kubectl patch cm settings --type=json -p '[{"op":"test","path":"/data/a","value":"9"},{"op":"add","path":"/data/z","value":"1"}]'
expect "json patch whose test fails" 1 "The request is invalid: the server rejected our request due to an error in our request" kubectl patch cm settings --type=json -p '[{"op":"test","path":"/data/a","value":"0"}]'
expect "strategic patch" 0 "=deployment.apps/api patched" kubectl patch deploy api -p '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","env":[{"name":"A","value":"1"}]}]}}}}'
expect "it merges by key" 0 "=nginx:1.27 A" kubectl get deploy api -o jsonpath='{.spec.template.spec.containers[*].image} {.spec.template.spec.containers[0].env[*].name}'
expect "a patch of nothing" 0 "=configmap/settings patched (no change)" kubectl patch cm settings --type=merge -p '{"data":{"a":"9"}}'
expect "patch of a subresource" 0 "=scale.autoscaling/api patched" kubectl patch deploy api --subresource=scale --type=merge -p '{"spec":{"replicas":2}}'
expect "edit" 0 "=configmap/settings edited" env KUBE_EDITOR='sed -i s/\"9\"/\"10\"/' kubectl edit cm settings
expect "edit of nothing" 0 "Edit cancelled, no changes made" env KUBE_EDITOR=true kubectl edit cm settings
expect "replace" 0 "=configmap/settings replaced" bash -c 'kubectl get cm settings -o json | sed "s/\"10\"/\"11\"/" | kubectl replace -f -'
expect "replace by an old version" 1 'Error from server \(Conflict\): .*the object has been modified; please apply your changes to the latest version and try again' kubectl replace -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"checks","resourceVersion":"1"}}'
expect "replace what is not there" 1 "NotFound" kubectl replace -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"absent"}}'
expect "invalid" 1 'The Deployment "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0' kubectl patch deploy web --type=merge -p '{"spec":{"replicas":-1}}'
expect "immutable" 1 'field is immutable' kubectl patch deploy web --type=merge -p '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}'
expect "bad name" 1 'a lowercase RFC 1123 subdomain must consist of' kubectl create configmap Bad_Name
expect "unknown field, strictly" 1 'unknown field "spec.replicsa"' kubectl create -f - <<<'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"replicsa":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}'
expect "namespace that is not there" 1 'namespaces "absent" not found' kubectl create configmap x -n absent

expect "scale" 0 "=deployment.apps/web scaled" kubectl scale deploy/web --replicas=3
expect "scale with a precondition" 1 "Expected replicas to be 7, was 3" kubectl scale deploy/web --current-replicas=7 --replicas=1
eventually "it scales" "=3" kubectl get deploy web -o jsonpath='{.status.readyReplicas}'
expect "set image" 0 "=deployment.apps/web image updated" kubectl set image deploy/web nginx=nginx:1.28
expect "roll out" 0 'deployment "web" successfully rolled out' kubectl rollout status deploy/web --timeout=15s
expect "set env" 0 "=deployment.apps/web env updated" kubectl set env deploy/web MODE=fast
expect "set resources" 0 "=deployment.apps/web resource requirements updated" kubectl set resources deploy/web --requests=cpu=20m
expect "annotate a cause" 0 "=deployment.apps/web annotated" kubectl annotate deploy/web kubernetes.io/change-cause=faster
eventually "history" $'REVISION  CHANGE-CAUSE\n1 .*\n4 +faster' kubectl rollout history deploy/web
expect "one revision" 0 "revision #2.*nginx:1.28" bash -c "kubectl rollout history deploy/web --revision=2 | tr '\n' ' '"
expect "undo" 0 "=deployment.apps/web rolled back" kubectl rollout undo deploy/web --to-revision=1
expect "what it went back to" 0 "=nginx:1.27" kubectl get deploy web -o jsonpath='{.spec.template.spec.containers[0].image}'
expect "pause" 0 "=deployment.apps/web paused" kubectl rollout pause deploy/web
expect "restart while paused" 1 "can't restart paused deployment" kubectl rollout restart deploy/web
expect "resume" 0 "=deployment.apps/web resumed" kubectl rollout resume deploy/web
expect "restart" 0 "=deployment.apps/web restarted" kubectl rollout restart deploy/web
expect "roll out again" 0 'deployment "web" successfully rolled out' kubectl rollout status deploy/web --timeout=15s

expect "label" 0 "=configmap/settings labeled" kubectl label cm settings tier=one
expect "label again" 1 "'tier' already has a value \(one\), and --overwrite is false" kubectl label cm settings tier=two
expect "label over" 0 "=configmap/settings labeled" kubectl label cm settings tier=two --overwrite
expect "remove a label" 0 "=configmap/settings unlabeled" kubectl label cm settings tier-
expect "bad label" 1 "Invalid value|a valid label" kubectl label cm settings 'tier=a b'
expect "annotate" 0 "=configmap/settings annotated" kubectl annotate cm settings note=hello

expect "autoscale" 0 "=horizontalpodautoscaler.autoscaling/api autoscaled" kubectl autoscale deploy api --min=1 --max=4 --cpu-percent=60
expect "the autoscaler's columns" 0 "REFERENCE +TARGETS +MINPODS +MAXPODS +REPLICAS +AGE"$'\n'"api +Deployment/api +cpu: .*/60% +1 +4" kubectl get hpa
expect "describe an autoscaler" 0 "Reference: +Deployment/api.*Min replicas: +1.*Max replicas: +4" bash -c "kubectl describe hpa api | tr '\n' ' '"
head -c 4000000 /dev/zero | tr '\0' x >"$WORK/big"
expect "a body that is too large" 1 "Request entity too large: limit is 3145728" kubectl create configmap big --from-file="$WORK/big"
