//! The drivers of the forecast and those of the local cluster: fed the same observations they take the same decisions.
//!
//! A forecast of a drawn profile and a drawn load tells what each of its autoscalers saw and what it decided. Here the same
//! is told to the local cluster's drivers as objects of Kubernetes, moment after moment, each driver with its own memory.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use democtl_core::{
    autoscale::{
        hpa,
        keda::{self, HealthByMetric, Quantity, Reading, Trigger},
        nodes::{Action, Autoscaler, Controller},
    },
    draws::{self, Ties},
    profile::{Profile, Source},
    render::{self, NodePool},
    sim::{
        Options,
        watched::{NodeSeen, PodSeen, Sight, Turn, UsageSeen, watched},
    },
    units::{Bytes, Millicores},
};
use proptest::{
    prelude::{ProptestConfig, Strategy, prop_assert},
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::{
    autoscaler::{Machines, Objects},
    daemonset,
    hpa::{Seen, external, read_metric, read_pod, usage},
    object::{int, is_deleting, items, name, namespace, text},
    scaled_object, scheduler,
};
use crate::{
    api::{
        Api, Client, DeleteOptions, Resource, Settings,
        resources::{DAEMONSETS, DEPLOYMENTS, HPAS, PDBS, PODS, SCALEDOBJECTS},
    },
    cloud,
    runtime::metrics::{ContainerUsage, PodUsage},
};

/// The local cluster's drivers over an API without kubelets.
struct Local {
    client: Client,
    pools: Vec<NodePool>,
    /// Pods as they were made, by name.
    pods: BTreeMap<String, Value>,
    scaled: BTreeMap<String, Scaled>,
    brain: Autoscaler,
    ties: Ties,
}

/// A workload that is scaled, with what its autoscalers remember.
struct Scaled {
    object: Arc<Value>,
    hpa: Arc<Value>,
    syncs: (hpa::State, hpa::Status),
    polls: keda::State,
    health: HealthByMetric,
}

fn time(at_s: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::nanoseconds((at_s * 1e9).round() as i64)
}

fn written(at_s: f64) -> String {
    time(at_s).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn seconds(time: DateTime<Utc>) -> f64 {
    (time - DateTime::UNIX_EPOCH).num_nanoseconds().unwrap_or_default() as f64 / 1e9
}

fn read(time: &str) -> Option<f64> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| seconds(time.with_timezone(&Utc)))
}

impl Local {
    fn new(profile: &Profile, seed: u64) -> Self {
        let api = Api::in_memory(Settings { block: 1, ca_pem: String::new() }).expect("an empty API starts");
        let client = api.client();
        let manifests = render::platform().into_iter().chain(render::daemon_sets());
        for object in render::namespaces().into_iter().chain(manifests).chain(render::manifests(profile, "forecast")) {
            let resource = client.resource_of(text(&object, "/apiVersion"), text(&object, "/kind"));
            let made = client.create(&resource.expect("a known kind"), namespace(&object), object.clone());
            assert!(made.is_ok() || made.is_err_and(|status| status.is_conflict()), "{object}");
        }
        let scaled = client.list(&SCALEDOBJECTS, "").0.into_iter().map(|object| {
            let triggers = items(&object, "/spec/triggers").enumerate();
            let triggers: Vec<_> = triggers.map(|(i, t)| Trigger::parse(i, t).expect("it is rendered")).collect();
            let (_, hpa) = keda::hpa(&object, &triggers).expect("it has triggers");
            let hpa = client.create(&HPAS, namespace(&object), hpa).expect("it is valid");
            let (syncs, polls, health) = Default::default();
            (name(&object).to_owned(), Scaled { object, hpa, syncs, polls, health })
        });
        let settings = profile.autoscaler.as_ref().expect("the profile has one");
        Self {
            scaled: scaled.collect(),
            pools: render::node_pools(profile),
            pods: BTreeMap::new(),
            brain: Autoscaler::new(render::autoscaler_options(settings), seed),
            ties: draws::ties(seed),
            client,
        }
    }

    fn deployment(&self, workload: &str) -> Value {
        let all = self.client.list(&DEPLOYMENTS, "").0;
        (**all.iter().find(|object| name(object) == workload).expect("it is rendered")).clone()
    }

    fn all(&self, resource: &Resource) -> Vec<Value> {
        self.client.list(resource, "").0.iter().map(|object| (**object).clone()).collect()
    }

    /// The pods of the API are those that were seen; they are bound and nominated by the local scheduler alone.
    fn follow(&mut self, seen: &[PodSeen]) {
        let gone: Vec<String> =
            self.pods.keys().filter(|name| seen.iter().all(|pod| pod.name != **name)).cloned().collect();
        for gone in gone {
            let pod = self.pods.remove(&gone).expect("it is listed");
            let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            // It may be gone already, as a victim that nothing ran of.
            let _ = self.client.delete(&PODS, namespace(&pod), &gone, &at_once);
        }
        for pod in seen {
            if !self.pods.contains_key(&pod.name) {
                let deployment = self.deployment(&pod.workload);
                let template = &deployment["spec"]["template"];
                let mut object = json!({ "apiVersion": "v1", "kind": "Pod" });
                (object["metadata"], object["spec"]) = (template["metadata"].clone(), template["spec"].clone());
                object["metadata"]["name"] = json!(pod.name);
                object["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "name": pod.workload, "uid": pod.workload, "controller": true }]);
                let made = self.client.create(&PODS, namespace(&deployment), object).expect("a pod of a template");
                self.pods.insert(pod.name.clone(), (*made).clone());
            }
            if pod.deleting {
                let space = namespace(&self.pods[&pod.name]);
                let _ = self.client.delete(&PODS, space, &pod.name, &DeleteOptions::default());
            }
        }
    }

    /// A pod as an object.
    fn pod(&self, seen: &PodSeen) -> Value {
        let mut pod = self.pods[&seen.name].clone();
        pod["metadata"]["creationTimestamp"] = json!(written(seen.created_s));
        pod["status"]["phase"] = json!(if seen.running { "Running" } else { "Pending" });
        if let Some(node) = &seen.node {
            pod["spec"]["nodeName"] = json!(node);
            pod["status"]["startTime"] = json!(written(seen.bound_s));
            let (ready, since) = (if seen.ready { "True" } else { "False" }, written(seen.ready_since_s));
            pod["status"]["conditions"] = json!([{ "type": "Ready", "status": ready, "lastTransitionTime": since }]);
        }
        if let Some(node) = &seen.nominated {
            pod["status"]["nominatedNodeName"] = json!(node);
        }
        pod
    }

    fn pods(&self, sight: &Sight) -> Vec<Arc<Value>> {
        let now = json!(written(sight.at_s));
        let pod = |seen: &PodSeen| {
            let mut pod = self.pod(seen);
            if seen.deleting {
                pod["metadata"]["deletionTimestamp"] = now.clone();
            }
            Arc::new(pod)
        };
        let daemon = |node: &NodeSeen, set: &Value| {
            let mut pod = json!({ "metadata": { "name": format!("{}-{}", name(set), node.name),
                "namespace": namespace(set), "labels": set["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": name(set),
                    "controller": true }] }, "status": { "phase": "Running" } });
            pod["spec"] = daemonset::pod_spec(set, &node.name);
            // As the class system-node-critical has it.
            pod["spec"]["priority"] = json!(2_000_001_000);
            Arc::new(pod)
        };
        let sets = self.all(&DAEMONSETS);
        let daemons = sight.nodes.iter().flat_map(|node| sets.iter().map(move |set| daemon(node, set)));
        daemons.chain(sight.pods.iter().map(pod)).collect()
    }

    fn nodes(&self, sight: &Sight) -> Vec<Arc<Value>> {
        let node = |seen: &NodeSeen| {
            let pool = self.pools.iter().find(|pool| pool.name == seen.pool).expect("a pool of the profile");
            let mut node = cloud::node(pool, NodePool::number_of(&seen.name).expect("a machine's name"));
            let taint = |taint: &democtl_core::autoscale::schedule::Taint| json!({ "key": taint.key, "value": taint.value, "effect": taint.effect });
            node["metadata"]["creationTimestamp"] = json!(written(seen.joined_s));
            node["spec"]["taints"] = seen.taints.iter().map(taint).collect();
            Arc::new(node)
        };
        sight.nodes.iter().map(node).collect()
    }

    /// What the horizontal autoscaler of a workload decides.
    fn sync(
        &mut self,
        sight: &Sight,
        workload: &str,
        (current, existing): (i32, i32),
        answers: &[(String, Result<i64, String>)],
        used: &[UsageSeen],
    ) -> (Option<i32>, hpa::Status) {
        let mut deployment = self.deployment(workload);
        deployment["spec"]["replicas"] = json!(current);
        deployment["status"]["replicas"] = json!(existing);
        let own = sight.pods.iter().filter(|pod| pod.workload == workload);
        let objects: Vec<Value> = own
            .map(|seen| {
                let mut pod = self.pod(seen);
                if seen.deleting {
                    pod["metadata"]["deletionTimestamp"] = json!(written(sight.at_s));
                }
                pod
            })
            .collect();
        let pods: Vec<hpa::Pod> = objects.iter().map(|pod| read_pod(pod, read)).collect();
        let usages: Vec<PodUsage> = used.iter().filter_map(|used| pod_usage(used, &objects)).collect();
        let scaled = self.scaled.get_mut(workload).expect("it is scaled");
        let mut metrics = Vec::new();
        for spec in items(&scaled.hpa, "/spec/metrics") {
            let metric = read_metric(spec);
            let observed = match &metric {
                hpa::Metric::Resource { resource, .. } => {
                    usage(&usages, resource, &pods, sight.at_s, |usage| seconds(usage.at))
                }
                hpa::Metric::External { name, .. } => {
                    let answer = answers.iter().find(|(metric, _)| metric == name).expect("it was asked for").1.clone();
                    external(answer.map(|milli| vec![(name.clone(), Quantity::from_milli(milli))]), sight.at_s)
                }
                other => unreachable!("profiles have no {other:?}"),
            };
            metrics.push((metric, observed));
        }
        let seen = Seen { hpa: &scaled.hpa, workload: Some(&deployment), pods: &pods, metrics: &metrics };
        let outcome = seen.decide(&mut scaled.syncs, None, sight.at_s);
        (outcome.scale_to, outcome.status)
    }

    /// What KEDA's operator decides.
    fn poll(&mut self, at_s: f64, workload: &str, current: i32, ready: i64, readings: &[Reading]) -> Option<i32> {
        let mut deployment = self.deployment(workload);
        deployment["spec"]["replicas"] = json!(current);
        deployment["status"]["readyReplicas"] = json!(ready);
        let Scaled { object, polls, health, .. } = self.scaled.get_mut(workload).expect("it is scaled");
        let replicas = scaled_object::replicas(&deployment);
        let judged = keda::judge(&object["spec"], readings.to_vec(), health, replicas);
        let seen = scaled_object::observation(&deployment, judged, at_s, None);
        keda::execute(&scaled_object::read(object, &deployment), &seen, polls, at_s).scale_to
    }

    /// What the cluster autoscaler does.
    fn scan(&mut self, sight: &Sight) -> Vec<Action> {
        let Turn::Scan { targets, booting, deleting, wanted, .. } = &sight.turn else { return Vec::new() };
        let healthy = |workload: &str| {
            sight.pods.iter().filter(|pod| pod.workload == workload && pod.ready && !pod.deleting).count() as i32
        };
        let budget = |mut budget: Value| {
            let workload = name(&budget).to_owned();
            let least = wanted[&workload] - int(&budget, "/spec/maxUnavailable").unwrap_or(0);
            budget["status"]["disruptionsAllowed"] = json!((healthy(&workload) - least.max(0)).max(0));
            Arc::new(budget)
        };
        let set = |deployment: &Value| {
            let replicas = i64::from(wanted[name(deployment)]);
            let controller = Controller { spec_replicas: Some(replicas), status_replicas: replicas };
            (("ReplicaSet".to_owned(), namespace(deployment).to_owned(), name(deployment).to_owned()), controller)
        };
        let daemons = |set: &Value| {
            let controller = Controller { spec_replicas: None, status_replicas: 0 };
            (("DaemonSet".to_owned(), namespace(set).to_owned(), name(set).to_owned()), controller)
        };
        let mut pods = self.pods(sight);
        pods.sort_by(|a, b| (namespace(a), name(a)).cmp(&(namespace(b), name(b))));
        let objects = Objects {
            nodes: self.nodes(sight),
            pods,
            budgets: self.all(&PDBS).into_iter().map(budget).collect(),
            controllers: self
                .all(&DEPLOYMENTS)
                .iter()
                .map(set)
                .chain(self.all(&DAEMONSETS).iter().map(daemons))
                .collect(),
        };
        let machines = Machines {
            groups: self.pools.iter().filter_map(|pool| pool.group(targets[&pool.name])).collect(),
            booting: booting.iter().map(|(pool, names)| (pool.clone(), names.iter().cloned().collect())).collect(),
            deleting: deleting.clone(),
        };
        let now_s = sight.at_s;
        let world = objects.world(&machines, |time| read(time).map(|at_s| now_s - at_s), now_s);
        self.brain.run_once(&world, now_s)
    }

    /// What the scheduler does: bindings, nominations, victims.
    fn schedule(&mut self, sight: &Sight) -> Turn {
        let (nodes, pods) = (self.nodes(sight), self.pods(sight));
        scheduler::round(&self.client, &nodes, &pods, &mut self.ties).expect("the API takes what it does");
        let (mut bound, mut nominated, mut victims) = (Vec::new(), Vec::new(), Vec::new());
        for pod in &sight.pods {
            let now = self.client.get(&PODS, namespace(&self.pods[&pod.name]), &pod.name).ok();
            if !pod.deleting && now.as_ref().is_none_or(|now| is_deleting(now)) {
                victims.push(pod.name.clone());
            }
            let Some(now) = now.filter(|_| pod.node.is_none()) else { continue };
            let node = |pointer: &str| {
                let node = text(&now, pointer);
                (!node.is_empty()).then(|| (pod.name.clone(), node.to_owned()))
            };
            let to = node("/spec/nodeName");
            nominated.extend(node("/status/nominatedNodeName").filter(|_| to.is_none()));
            bound.extend(to);
        }
        Turn::Schedule { bound, nominated, victims }
    }

    /// The same moment for the local drivers: what they decide, in the words of the forecast's.
    fn turn(&mut self, sight: &Sight) -> String {
        self.follow(&sight.pods);
        let at_s = sight.at_s;
        match &sight.turn {
            Turn::Sync { workload, current, existing, answers, usage, .. } => {
                let (to, status) = self.sync(sight, workload, (*current, *existing), answers, usage);
                synced(to, &status)
            }
            Turn::Poll { workload, current, ready, readings, .. } => {
                format!("{:?}", self.poll(at_s, workload, *current, *ready, readings))
            }
            Turn::Scan { .. } => scanned(&self.scan(sight)),
            Turn::Schedule { .. } => format!("{:?}", self.schedule(sight)),
        }
    }
}

fn pod_usage(used: &UsageSeen, pods: &[Value]) -> Option<PodUsage> {
    let pod = pods.iter().find(|pod| name(pod) == used.pod)?;
    let container = text(pod, "/spec/containers/0/name").to_owned();
    let (cpu, memory) = (Millicores(used.cpu_milli), Bytes(used.memory));
    Some(PodUsage {
        namespace: namespace(pod).to_owned(),
        name: used.pod.clone(),
        node: text(pod, "/spec/nodeName").to_owned(),
        labels: pod["metadata"]["labels"].clone(),
        containers: vec![ContainerUsage { name: container, cpu, memory }],
        at: time(used.at_s),
    })
}

/// Messages name selectors, which only objects have.
fn synced(to: Option<i32>, status: &hpa::Status) -> String {
    let conditions: Vec<_> = status.conditions.iter().map(|c| (c.kind, c.status, &c.reason)).collect();
    format!("{to:?} {} {:?} {conditions:?}", status.desired_replicas, status.current_metrics)
}

/// The forecast tells once which pods no group can help, and does not look where it would find nothing. Pods of an action
/// are listed in the order of the objects.
fn scanned(actions: &[Action]) -> String {
    let mut done = actions.to_vec();
    done.retain(|action| !matches!(action, Action::NotTriggered { .. }));
    for action in &mut done {
        if let Action::Increase { pods, .. } | Action::Remove { pods, .. } = action {
            pods.sort();
        }
    }
    format!("{done:?}")
}

/// What the forecast decided.
fn decided(turn: &Turn) -> String {
    match turn {
        Turn::Sync { to, status, .. } => synced(*to, status),
        Turn::Poll { to, .. } => format!("{to:?}"),
        Turn::Scan { actions, .. } => scanned(actions),
        Turn::Schedule { .. } => format!("{turn:?}"),
    }
}

const TEST: &str = r#"thresholds = ["http_req_failed: rate<0.05"]
journey = [{ name = "create", post = "/api/customers", body = '{"name":"Customer"}' }, { think = "1s..2s" }]"#;

/// A profile between roomy and cramped, and a load that rises and falls.
fn drawn() -> impl Strategy<Value = Profile> {
    let bounds = (1_u32..4, 0_u32..12, 0_u32..2, 1_u32..8);
    let pods = (2_u32..8, 0_i32..2, 3_u32..8, 4_u32..30, 5_u32..10);
    (bounds, pods, proptest::collection::vec((20_u32..150, 0_u32..160), 2..5)).prop_map(|(bounds, pods, stages)| {
        let ((web, more, worker, workers), (cpu, priority, nodes, rate, share)) = (bounds, pods);
        let stages: Vec<String> =
            stages.iter().map(|(s, vus)| format!(r#"{{ duration = "{s}s", target = {vus} }}"#)).collect();
        let text = format!(
            r#"extends = "m3demo2"
suite = "one"
local.vm_delay = "20s..110s"
[autoscaler]
scale_down_delay_after_add = "90s"
scale_down_unneeded_time = "60s"
scale_down_utilization_threshold = 0.{share}
max_node_provision_time = "60s"
[pool.main]
max = {nodes}
[workload.web]
priority = {}
requests.cpu = "{}m"
limits.cpu = "{}m"
[workload.web.scaling]
min = {web}
max = {}
trigger = [
    {{ type = "cpu", utilization = 60 }},
    {{ type = "prometheus", query = "sum(rate(http_requests_total[1m]))", threshold = {rate} }},
]
[workload.worker.scaling]
min = {worker}
max = {workers}
cooldown = "40s"
trigger = [{{ type = "redis", list = "customer_operations", length = 2 }}]
"#,
            priority * 1000,
            cpu * 200,
            cpu * 400,
            web + more,
        );
        let suite = format!("name = \"one\"\n[[test]]\nname = \"only\"\nstages = [{}]\n{TEST}", stages.join(", "));
        let find = |name: &str| {
            name.ends_with("one").then(|| Source { name: "suites/one.toml".to_owned(), text: suite.clone() })
        };
        let source = Source { name: "drawn.toml".to_owned(), text };
        Profile::load(&source, &[], &find).unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
    })
}

/// What kinds of decisions a sight shows.
fn kinds(sight: &Sight) -> Vec<&'static str> {
    let moved = |by: [&'static str; 2], current: i32, to: Option<i32>| to.map(|to| by[usize::from(to < current)]);
    match &sight.turn {
        Turn::Sync { current, to, .. } => {
            moved(["more by metrics", "fewer by metrics"], *current, *to).into_iter().collect()
        }
        Turn::Poll { current, to, .. } => moved(["awake", "asleep"], *current, *to).into_iter().collect(),
        Turn::Scan { actions, .. } => actions
            .iter()
            .map(|action| match action {
                Action::Increase { .. } => "nodes asked for",
                Action::Remove { pods, .. } if pods.is_empty() => "empty node removed",
                Action::Remove { .. } => "node drained",
                Action::DeleteInstance { .. } => "machine given back",
                Action::ScaleUpFailed { .. } => "scale-up failed",
                Action::NotTriggered { .. } => "no group helps",
                Action::FixTarget { .. } => "target corrected",
            })
            .collect(),
        Turn::Schedule { bound, nominated, victims } => [
            (bound.is_empty(), "pod placed"),
            (nominated.is_empty(), "room made"),
            (victims.is_empty(), "pod preempted"),
            (
                bound.len() + nominated.len() == sight.pods.iter().filter(|pod| pod.node.is_none()).count(),
                "pod refused",
            ),
        ]
        .into_iter()
        .filter_map(|(none, kind)| (!none).then_some(kind))
        .collect(),
    }
}

#[test]
fn both_drivers_decide_alike() {
    let counts = std::cell::RefCell::new(BTreeMap::<&str, u32>::new());
    // Always the same draws: what must have been seen can be told.
    let config = ProptestConfig { max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::with_cases(30) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let drawn = (drawn(), 1_u64..1000, proptest::bool::ANY);
    let outcome = runner.run(&drawn, |(profile, seed, fast)| {
        let options = Options { seed, speed: if fast { 15.0 } else { 1.0 }, ..Options::default() };
        let sights = watched(&profile, &options).expect("it can be forecast");
        let mut local = Local::new(&profile, seed);
        for sight in &sights {
            let (ours, theirs) = (local.turn(sight), decided(&sight.turn));
            prop_assert!(ours == theirs, "at {} s\n   local {ours}\nforecast {theirs}\n{sight:#?}", sight.at_s);
            for kind in kinds(sight) {
                *counts.borrow_mut().entry(kind).or_default() += 1;
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    for kind in [
        "more by metrics",
        "fewer by metrics",
        "awake",
        "asleep",
        "nodes asked for",
        "empty node removed",
        "node drained",
        "machine given back",
        "pod placed",
        "pod refused",
        "room made",
        "pod preempted",
    ] {
        assert!(counts.borrow().contains_key(kind), "no {kind}: {:?}", counts.borrow());
    }
}
