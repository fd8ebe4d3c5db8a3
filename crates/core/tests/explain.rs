//! Explanations of recorded runs: three failures with three causes, and small recordings for each rule.

use democtl_core::{
    autoscale::hpa::{Behavior, CurrentMetric, Policy, PolicyKind, Rules, Target},
    event::{ConditionSeen, Event, Fact, MetricTarget},
    explain::{Cause, Decision, Explanation, Recording, Rule, explain, explain_at},
    profile::Profile,
    verdict::{Figures, Second, TestResult, ThresholdResult, Verdict},
};

struct Recorded {
    profile: Profile,
    events: Vec<Event>,
    tests: Vec<TestResult>,
}

/// Spikes on the local target at speed 15, recorded by `run-tests`; events of failed probes are left out.
const RUNS: [(&str, &str, &str); 3] = [
    ("m3demo1", include_str!("data/explain/m3demo1/events.jsonl"), include_str!("data/explain/m3demo1/tests.json")),
    (
        "m3demo2-as-written",
        include_str!("data/explain/m3demo2-as-written/events.jsonl"),
        include_str!("data/explain/m3demo2-as-written/tests.json"),
    ),
    (
        "m3demo2-max-3",
        include_str!("data/explain/m3demo2-max-3/events.jsonl"),
        include_str!("data/explain/m3demo2-max-3/tests.json"),
    ),
];

impl Recorded {
    fn read(name: &str, profile: &str, sets: &[(&str, &str)]) -> Self {
        let (_, events, tests) = RUNS.iter().find(|run| run.0 == name).expect("it was recorded");
        let events = events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        let tests = serde_json::from_str(tests).expect("figures of tests");
        Self { profile: load(profile, sets), events, tests }
    }

    fn recording(&self) -> Recording<'_> {
        Recording { profile: &self.profile, events: &self.events, tests: &self.tests }
    }

    fn explain(&self) -> Explanation {
        explain(&self.recording())
    }
}

fn load(profile: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(profile, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

#[test]
fn three_failures_have_three_causes() {
    let cases = [
        ("m3demo1", Recorded::read("m3demo1", "m3demo1", &[]), Cause::Concurrency),
        ("m3demo2-as-written", Recorded::read("m3demo2-as-written", "m3demo2-as-written", &[]), Cause::TriggerSignal),
        (
            "m3demo2-max-3",
            Recorded::read("m3demo2-max-3", "m3demo2", &[("workload.web.scaling.max", "3")]),
            Cause::ReplicasAtMax,
        ),
    ];
    for (name, recorded, cause) in cases {
        let explanation = recorded.explain();
        let [spike] = explanation.failed.as_slice() else {
            panic!("{name}: one test failed: {:?}", explanation.failed)
        };
        let first = &spike.bottlenecks[0];
        assert_eq!((spike.test.as_str(), first.cause), ("spike", cause), "{name}: {spike:#?}");
        assert!(first.share > 0.5, "{name}: {spike:#?}");
        let all: f64 = spike.bottlenecks.iter().map(|bottleneck| bottleneck.share).sum();
        assert!((all - 1.0).abs() < 1e-9, "{name}: shares sum to {all}");
    }
}

#[test]
fn recorded_decisions_name_their_rules() {
    let max_3 = Recorded::read("m3demo2-max-3", "m3demo2", &[("workload.web.scaling.max", "3")]).explain();
    let changes = |explanation: &Explanation, of: &str| -> Vec<(i32, i32, Rule)> {
        let of = explanation.decisions.iter().filter(|d| d.subject == of && d.until_s.is_none());
        of.map(|decision| (decision.from, decision.to, decision.rule)).collect()
    };
    assert_eq!(changes(&max_3, "web"), [(2, 3, Rule::MaxReplicas)]);
    assert_eq!(changes(&max_3, "worker"), [(1, 4, Rule::Policy), (4, 5, Rule::MaxReplicas)]);
    let policy = max_3.decisions.iter().find(|decision| decision.rule == Rule::Policy).expect("one was limited");
    assert!(policy.text.contains("4 pods per 15 s or 100 % per 15 s, whichever is more"), "{}", policy.text);
    assert!(policy.text.contains("asks for 16"), "{}", policy.text);

    let written = Recorded::read("m3demo2-as-written", "m3demo2-as-written", &[]).explain();
    assert_eq!(
        changes(&written, "web"),
        [(2, 3, Rule::MetricAbove), (3, 4, Rule::MetricAbove), (4, 5, Rule::MetricAbove)]
    );
    // The list had emptied when the worker's sync came; what it had asked for before was within the window.
    assert_eq!(changes(&written, "worker"), [(1, 4, Rule::Policy), (4, 5, Rule::Window)]);
    let held = |rule| written.decisions.iter().find(|d| d.subject == "web" && d.rule == rule && d.until_s.is_some());
    let tolerance = held(Rule::Tolerance).expect("it stood at a number of pods that was too small");
    assert!(tolerance.metrics.iter().all(|metric| metric.asks_for <= Some(tolerance.to)), "{tolerance:?}");
    assert!(held(Rule::Window).is_some_and(|window| {
        window.text.contains("the highest recommendation within the scale-down window stands: 5")
    }));
    let signal = &written.failed[0].bottlenecks[0].text;
    assert!(signal.contains("the threshold is 100 per pod"), "{signal}");
}

#[test]
fn the_brain_decides_as_the_recorded_autoscalers_did() {
    for name in ["m3demo2-max-3", "m3demo2-as-written"] {
        let explanation = Recorded::read(name, "m3demo2-as-written", &[]).explain();
        assert_eq!(explanation.notes, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn one_moment_shows_what_held_and_what_stood() {
    let recorded = Recorded::read("m3demo2-as-written", "m3demo2-as-written", &[]);
    let explanation = recorded.explain();
    let moment = explain_at(&recorded.recording(), &explanation, 135.0);
    assert_eq!((moment.vus, moment.nodes), (600, 2));
    let web = &moment.workloads[0];
    assert_eq!((web.workload.as_str(), web.wanted, web.ready, web.pending), ("web", 4, 4, 0));
    assert!(web.metrics.iter().any(|metric| metric.name == "prometheus" && metric.asks_for == Some(4)), "{web:?}");
    let last = moment.decisions.iter().rfind(|d| d.subject == "web" && d.until_s.is_none()).expect("a change");
    assert_eq!((last.from, last.to), (3, 4));
    assert!(moment.decisions.iter().all(|d| d.at_s <= 135.0 && d.until_s.is_none_or(|until| until >= 135.0)));
}

/// A spike of one profile minute in real time, told by hand: so many answers a second, of `p50` milliseconds.
struct Story {
    test: &'static str,
    threshold: &'static str,
    events: Vec<Event>,
    seconds: Vec<Second>,
}

impl Story {
    fn new() -> Self {
        Self::of("spike", "http_req_duration: p(95)<500")
    }

    fn of(test: &'static str, threshold: &'static str) -> Self {
        let story = Self { test, threshold, events: Vec::new(), seconds: Vec::new() };
        let started = Fact::RunStarted { environment: "told".into(), profile: "m3demo2".into(), speed: 1.0 };
        story.tell(0.0, started).tell(0.0, Fact::TestStarted { test: test.into() })
    }

    fn tell(mut self, at_s: f64, fact: Fact) -> Self {
        let id = self.events.len() as u64 + 1;
        self.events.push(Event { id, at_s, time: String::new(), cause: None, fact });
        self
    }

    fn pods(self, at_s: f64, ready: i32, pending: i32) -> Self {
        self.tell(at_s, Fact::Pods { workload: "web".into(), ready, pending, total: ready + pending })
    }

    fn replicas(self, at_s: f64, from: i32, to: i32) -> Self {
        let (reason, by) = ("in-flight 40/pod > 6".to_owned(), "HPA".to_owned());
        self.tell(at_s, Fact::Replicas { workload: "web".into(), from, to, reason, by })
    }

    fn nodes(self, at_s: f64, (ready, total): (i32, i32), change: &str) -> Self {
        let billed = [("Standard_D4s_v5".to_owned(), total as u32)].into();
        let (node, reason) = ("main-3".to_owned(), String::new());
        self.tell(at_s, Fact::Nodes { ready, total, billed, node, change: change.into(), reason })
    }

    fn answers(mut self, requests: u64, p50_ms: f64) -> Self {
        let second = |at_s| Second { at_s, vus: 600, requests, failed: 0, p50_ms, p95_ms: 1.2 * p50_ms };
        self.seconds = (0..60).map(second).collect();
        self
    }

    fn explain(self) -> Explanation {
        let finished = Fact::TestFinished { test: self.test.into(), passed: false };
        let told = self.tell(60.0, finished).tell(60.0, Fact::RunFinished { passed: false });
        let Self { test, threshold, events, seconds } = told;
        let threshold = threshold.parse().expect("a threshold");
        let test = TestResult {
            name: test.into(),
            verdict: Verdict::Fail,
            engine: "builtin".into(),
            duration_s: 60.0,
            total: Figures::default(),
            steps: Vec::new(),
            seconds,
            checks_passed: 0,
            checks_failed: 0,
            iterations: 0,
            iterations_interrupted: 0,
            vus_max: 600,
            thresholds: vec![ThresholdResult { threshold, value: 900.0, verdict: Verdict::Fail }],
        };
        explain(&Recording { profile: &load("m3demo2", &[]), events: &events, tests: &[test] })
    }

    fn causes(self) -> Vec<Cause> {
        let explanation = self.explain();
        explanation.failed[0].bottlenecks.iter().map(|bottleneck| bottleneck.cause).collect()
    }
}

/// The autoscaler of `web` with one metric of a target of 6 per pod.
fn autoscaler() -> Fact {
    let policy = Policy { kind: PolicyKind::Pods, value: 1, period_s: 60 };
    let rules = Rules { policies: Some(vec![policy]), ..Rules::default() };
    let target = Target { average_value_milli: Some(6000), ..Target::default() };
    Fact::Autoscaler {
        workload: "web".into(),
        min: 2,
        max: 10,
        behavior: Some(Behavior { scale_up: Some(rules.clone()), scale_down: Some(rules) }),
        metrics: vec![MetricTarget { name: "in-flight".into(), resource: false, target }],
    }
}

fn sync((replicas, desired): (i32, i32), per_pod: Option<i64>, (kind, status, reason): (&str, bool, &str)) -> Fact {
    let current = |milli| CurrentMetric { average_value_milli: Some(milli), ..CurrentMetric::default() };
    let condition =
        ConditionSeen { kind: kind.into(), status, reason: reason.into(), message: format!("{reason} was told") };
    Fact::Sync {
        workload: "web".into(),
        replicas,
        desired,
        metrics: vec![per_pod.map(current)],
        conditions: vec![condition],
    }
}

#[test]
fn full_pods_that_wait_for_others_have_the_cause_of_the_wait() {
    // Four pods answer at most 400 writes a second.
    let full = || Story::new().pods(0.0, 4, 0).replicas(0.0, 2, 4).answers(400, 900.0);
    assert_eq!(full().causes(), [Cause::TriggerSignal]);
    assert_eq!(full().replicas(0.0, 4, 10).pods(0.0, 4, 0).causes(), [Cause::PodsStarting]);
    let pending = || full().replicas(0.0, 4, 10).pods(0.0, 4, 6);
    assert_eq!(pending().nodes(0.0, (2, 2), "listed").causes(), [Cause::PodsPending]);
    assert_eq!(pending().nodes(0.0, (2, 3), "provisioning").causes(), [Cause::NodeDelay]);
    assert_eq!(
        Story::new().replicas(0.0, 2, 10).pods(0.0, 10, 0).answers(1000, 900.0).causes(),
        [Cause::ReplicasAtMax]
    );
}

#[test]
fn full_pods_that_an_autoscaler_holds_have_its_rule_as_cause() {
    let held = |metric, condition| {
        let story = Story::new().tell(0.0, autoscaler()).replicas(0.0, 2, 4).pods(0.0, 4, 0);
        story.tell(0.0, sync((4, 4), metric, condition)).answers(400, 900.0).causes()
    };
    assert_eq!(held(Some(40_000), ("ScalingLimited", true, "ScaleUpLimit")), [Cause::ScaleUpPolicy]);
    assert_eq!(held(Some(40_000), ("AbleToScale", true, "ScaleUpStabilized")), [Cause::Stabilization]);
    assert_eq!(held(None, ("ScalingActive", false, "FailedGetExternalMetric")), [Cause::MetricsMissing]);
    assert_eq!(held(Some(3_000), ("AbleToScale", true, "ScaleDownStabilized")), [Cause::TriggerSignal]);
    assert_eq!(held(Some(6_100), ("AbleToScale", true, "ReadyForNewScale")), [Cause::TriggerSignal]);
}

#[test]
fn new_pods_that_open_connections_do_not_reach_are_told_from_full_ones() {
    // Ten pods, of which the first two answer all that they can: 200 of 1,000.
    let story = Story::new().pods(0.0, 2, 0).replicas(0.0, 2, 10).pods(35.0, 10, 0).answers(200, 900.0);
    assert_eq!(story.causes(), [Cause::PodsStarting, Cause::ConnectionPinning]);
}

#[test]
fn journeys_that_wait_for_workers_have_their_queue_as_cause() {
    let queue = |depth| {
        let sample = Fact::Sample { queue: Some(depth), processed: None, cpu_milli: Vec::new(), usd_per_hour: 0.0 };
        let worker = Fact::Pods { workload: "worker".into(), ready: 1, pending: 0, total: 1 };
        let story = Story::of("load", "checks: rate>0.9").pods(0.0, 2, 0).tell(0.0, worker).tell(0.0, sample);
        story.answers(50, 60.0)
    };
    assert_eq!(queue(5_000).causes(), [Cause::WorkerQueue]);
    // One batch is what a worker claims at once: nobody waits for another.
    assert_eq!(queue(20).causes(), [Cause::ConnectionPinning]);
}

#[test]
fn nodes_are_explained_by_pods_and_timers() {
    let story = Story::new().pods(0.0, 4, 0).nodes(0.0, (2, 2), "listed").pods(10.0, 4, 3);
    let refused = Fact::FailedScheduling {
        pod: "web-a-b".into(),
        workload: "web".into(),
        message: "0/2 nodes are available: 2 Insufficient cpu.".into(),
    };
    let story = story.tell(10.0, refused).nodes(12.0, (2, 3), "provisioning").nodes(50.0, (3, 3), "ready");
    let story = story.pods(52.0, 7, 0).answers(100, 100.0);
    // Pods go at 100 s; the machine was asked for at 12 s; both timers are ten minutes.
    let story = story.tell(100.0, Fact::Pods { workload: "web".into(), ready: 2, pending: 0, total: 2 });
    let explanation = story.nodes(705.0, (2, 2), "removed").explain();
    let of = |rule| -> &Decision {
        explanation.decisions.iter().find(|decision| decision.rule == rule).expect("it was explained")
    };
    assert!(of(Rule::NodeReady).text.contains("0:38 after it was asked for"), "{:?}", of(Rule::NodeReady));
    let removed = of(Rule::NodeRemoved);
    assert_eq!((removed.from, removed.to), (3, 2));
    assert!(removed.text.contains("unneeded for 10m, 10:05 after pods became fewer"), "{removed:?}");
    let timer = of(Rule::NodeTimer);
    assert_eq!((timer.at_s, timer.until_s, timer.to), (100.0, Some(705.0), 3));
    assert!(timer.text.contains("it must be so for 10m, and no node goes within 10m of a scale-up"), "{timer:?}");
    let pending = of(Rule::Unschedulable);
    assert_eq!((pending.at_s, pending.until_s), (10.0, Some(52.0)));
    assert!(pending.text.contains("3 pods fit on no node: 0/2 nodes are available"), "{pending:?}");
}

#[test]
fn a_recording_without_syncs_is_explained_by_its_own_words() {
    let explanation = Story::new().pods(0.0, 2, 0).replicas(20.0, 2, 4).answers(200, 900.0).explain();
    let change = &explanation.decisions[0];
    assert_eq!((change.rule, change.text.as_str()), (Rule::MetricAbove, "in-flight 40/pod > 6"));
    assert!(explanation.notes[0].contains("no syncs of autoscalers"), "{:?}", explanation.notes);
}
