//! The forecast: a run in virtual time. No cluster, no load; the scaling brain is the one that the local cluster drives.
//!
//! A discrete-event world: every request of every VU, each pod's places and queue, batches of workers, scrapes and syncs.
//! Time is in nanoseconds and whole, randomness a portable generator with a seed, iteration ordered: the same seed gives
//! the same bytes on any machine. What it leaves out: CPU of the machine that plays cloud, rollouts, TLS.
//!
//! `speed` means what it means on the local target: it divides the durations of the suite and of the controllers, never
//! a request's own time.

mod agenda;
mod app;
mod book;
mod cluster;
mod fault;
mod fluid;
mod load;
mod machines;
mod monitoring;
mod placing;
mod route;
mod scaling;
mod sources;
pub mod watched;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use agenda::{Agenda, Happening, Nanos, nanos};
pub(crate) use app::BATCH_HANDLING;
use app::Store;
use book::Book;
use cluster::{Phase, Pod, Workload, daemons};
pub use fault::{Fault, FaultError};
use fluid::Flow;
pub use fluid::{TrafficForecast, TrafficStep, traffic};
use load::Load;
use machines::{Machine, PoolState, Scanner};
use monitoring::Monitoring;
pub(crate) use monitoring::SYNC;
use route::Counter;
pub(crate) use route::{Backend, HANDLING, NETWORK};
pub use scaling::TriggerFailure;
use watched::Sight;

use crate::{
    autoscale::schedule::{self, Cluster, Selector, Shape},
    capacity,
    draws::{self, Boots, Ties},
    event::{Event, Fact},
    profile::{Profile, Role, Web},
    random::Random,
    render::{self, NodePool},
    suite::{Test, UnknownTest},
    timeline::Moment,
    units,
    verdict::{TestResult, Verdict},
};

/// How to forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Only these tests; all when empty.
    pub tests: Vec<String>,
    /// Seed of every draw.
    pub seed: u64,
    /// Durations of suite and controllers are divided by this.
    pub speed: f64,
    /// Go on until pods and nodes are back at the baseline.
    pub settle: bool,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The autoscaler's syncs stand in no relation to the run's beginning. A fresh environment, which is the other case,
    /// is ready when a sync has raised its workloads to their least replicas, and the run begins then.
    pub any_phase: bool,
    /// What is known of the run that is forecast, where it has been.
    pub known: Option<Known>,
}

impl Options {
    /// Seed of what a real run draws as well: users' pauses and machines' boots.
    fn run_seed(&self) -> u64 {
        self.known.as_ref().map_or(self.seed, |known| known.seed)
    }
}

/// What a recorded run tells of its beginnings, in profile time; what came of them is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its seed.
    pub seed: u64,
    /// So long before its beginning the autoscalers had last synced; none where it saw no sync.
    pub phase: Option<Duration>,
    /// When each test began, since the run's beginning; the one before it had ended by then.
    pub begins: BTreeMap<String, Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { tests: Vec::new(), seed: 1, speed: 1.0, settle: true, faults: Vec::new(), any_phase: false, known: None }
    }
}

/// What came of it, in the terms of a real run.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The tests in order.
    pub tests: Vec<TestResult>,
    /// The timeline.
    pub events: Vec<Event>,
    /// Before the first test.
    pub before: Moment,
    /// At the end.
    pub after: Moment,
    /// Profile seconds from the last test's end back to the baseline, where that was asked for and reached.
    pub settled_s: Option<f64>,
    /// What a reader must know besides.
    pub notes: Vec<String>,
}

impl Forecast {
    /// Pass when every test passed.
    pub fn verdict(&self) -> Verdict {
        let passed = self.tests.iter().all(|test| test.verdict == Verdict::Pass);
        if passed { Verdict::Pass } else { Verdict::Fail }
    }
}

/// Why there is no forecast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForecastError {
    /// Nobody answers the suite's requests.
    #[error("profile `{0}` has no workload of role web")]
    NoWeb(String),
    /// No such test.
    #[error(transparent)]
    UnknownTest(#[from] UnknownTest),
    /// A fault that the run ends before.
    #[error("a fault at {} never happens: the forecast ends at {}", units::format_duration(*at), units::format_duration(*end))]
    LateFault {
        /// When it would happen.
        at: Duration,
        /// When the last thing happens.
        end: Duration,
    },
    /// A trigger whose value virtual time does not have.
    #[error(transparent)]
    Trigger(#[from] TriggerFailure),
}

/// Forecasts a run of the profile's suite.
///
/// # Errors
/// What the profile or the options lack.
pub fn forecast(profile: &Profile, options: &Options) -> Result<Forecast, ForecastError> {
    let mut world = World::new(profile, options, false)?;
    let begin = world.first_moment();
    world.agenda.plan(begin, Happening::Begin);
    world.agenda.plan(begin, Happening::Sample);
    world.run();
    world.all_faults_began()?;
    Ok(world.close())
}

/// Monitoring and autoscalers have run for so long before the first test.
const WARM_UP: Duration = Duration::from_secs(180);
/// What `run-tests` takes from a cluster that is ready to its first request, undivided, and how much that varies.
const LAUNCH: (Nanos, Nanos) = (100_000_000, 250_000_000);
/// How often it is looked whether everything is back at the baseline.
const SETTLE_TICK: Duration = Duration::from_secs(3);
/// How often it is looked whether the queue is empty after a test, undivided.
const DRAIN_TICK: Nanos = 100_000_000;
/// A queue that has not emptied by then never will.
const DRAIN_LIMIT: Duration = Duration::from_secs(3600);

/// The web workload.
#[derive(Debug, Clone, Copy)]
struct WebApp<'a> {
    /// Index in the profile.
    workload: usize,
    /// Index among the Deployments.
    deployment: usize,
    settings: &'a Web,
    /// Requests that a pod takes in.
    limit: u32,
    cpu_s: f64,
}

/// Everything there is.
#[derive(Debug)]
struct World<'a> {
    profile: &'a Profile,
    options: &'a Options,
    speed: f64,
    now: Nanos,
    agenda: Agenda,
    book: Book,
    /// When the run began.
    origin: Option<Nanos>,
    workloads: Vec<Workload>,
    /// Deployments that an autoscaler owns.
    scaled: Vec<usize>,
    pods: Vec<Pod>,
    web: Option<WebApp<'a>>,
    redis: Option<usize>,
    /// The list that workers read.
    list: String,
    /// Ready web pods.
    endpoints: Vec<u32>,
    cluster: Cluster,
    machines: Vec<Machine>,
    machine_numbers: u32,
    pools: Vec<PoolState>,
    /// The same pools' nodes.
    node_pools: Vec<NodePool>,
    daemons: Vec<schedule::Pod>,
    budgets: Vec<(usize, Selector)>,
    /// Pods without a node, in the order in which they are placed.
    waiting: BTreeSet<(Reverse<i64>, Nanos, u32)>,
    /// Bound pods by priority, daemons apart.
    priorities: BTreeMap<i64, u32>,
    /// What each workload's pods find on the nodes, as of the number of changes that were looked at.
    shapes: Vec<Option<Shape>>,
    judged: Vec<usize>,
    /// Nodes on which something has changed, one after the other.
    rejudged: Vec<usize>,
    /// The last refusal, with the workload and the length of `rejudged` that it holds for.
    refusal: Option<((usize, usize), String)>,
    scanner: Option<Scanner>,
    monitoring: Monitoring,
    store: Store,
    load: Option<Box<Load>>,
    counters: Vec<Counter>,
    /// Choice of endpoints.
    random: Random,
    /// Boot times of machines.
    boots: Boots,
    /// The scheduler's choice among equals.
    placement: Ties,
    image_pull: Duration,
    /// No machines can be had until then.
    short_until: Nanos,
    /// Something changed that others must act on.
    dirty: bool,
    /// When that last was.
    changed: Nanos,
    /// Traffic flows in rates; no request is simulated.
    flows: bool,
    flow: Flow,
    /// Time that was passed over because nothing changed in it.
    skipped: Nanos,
    warned: BTreeSet<(String, String)>,
    tests: Vec<&'a Test>,
    results: Vec<TestResult>,
    before: Moment,
    ended: Nanos,
    settled_s: Option<f64>,
    notes: Vec<String>,
    first_sync: Nanos,
    done: bool,
    /// What was decided, where anybody wants to know.
    sights: Option<Vec<Sight>>,
}

impl<'a> World<'a> {
    /// The world at its baseline: every workload has its replicas, as far as they fit.
    fn new(profile: &'a Profile, options: &'a Options, flows: bool) -> Result<Self, ForecastError> {
        let mut world = Self::empty(profile, options, flows)?;
        world.stand_up();
        Ok(world)
    }

    fn empty(profile: &'a Profile, options: &'a Options, flows: bool) -> Result<Self, ForecastError> {
        let tests = profile.suite.select(&options.tests)?;
        let mut workloads = Workload::all(profile);
        scaling::attach(&mut workloads, profile, flows)?;
        let deployed = |index: usize| workloads.iter().position(|workload| workload.index == Some(index));
        let by_role = |is: fn(&Role) -> bool| profile.workloads.iter().position(|workload| is(&workload.role));
        let web = profile.workloads.iter().enumerate().find_map(|(workload, w)| match &w.role {
            Role::Web(settings) => Some(WebApp {
                workload,
                deployment: deployed(workload)?,
                settings,
                limit: settings.concurrency + settings.queue,
                cpu_s: settings.cpu_per_request.as_secs_f64(),
            }),
            _ => None,
        });
        let web = Some(web.ok_or_else(|| ForecastError::NoWeb(profile.name.clone()))?);
        let list = profile.workloads.iter().find_map(|workload| match &workload.role {
            Role::Worker(worker) => Some(worker.reads.clone()),
            _ => None,
        });
        let server = by_role(|role| matches!(role, Role::Prometheus(_))).and_then(deployed);
        let mut scaled: Vec<usize> = (0..workloads.len()).filter(|w| workloads[*w].scaler.is_some()).collect();
        scaled.sort_by(|a, b| workloads[*a].name.cmp(&workloads[*b].name));
        let redis = by_role(|role| *role == Role::Redis).and_then(deployed);
        let budgets = budgets(&workloads, profile);
        let (seed, count) = (options.seed, workloads.len());
        Ok(Self {
            profile,
            options,
            speed: options.speed,
            now: 0,
            agenda: Agenda::default(),
            book: Book::default(),
            origin: None,
            workloads,
            scaled,
            pods: Vec::new(),
            web,
            redis,
            list: list.unwrap_or_default(),
            endpoints: Vec::new(),
            cluster: Cluster::default(),
            machines: Vec::new(),
            machine_numbers: 0,
            pools: profile.pools.iter().map(|_| PoolState::default()).collect(),
            node_pools: render::node_pools(profile),
            daemons: daemons(),
            budgets,
            waiting: BTreeSet::new(),
            priorities: BTreeMap::new(),
            shapes: Vec::new(),
            judged: vec![0; count],
            rejudged: Vec::new(),
            refusal: None,
            scanner: profile.autoscaler.as_ref().map(|settings| Scanner::new(settings, seed)),
            monitoring: Monitoring::new(profile, server, options.speed),
            store: Store::default(),
            load: None,
            counters: Vec::new(),
            random: Random::new(seed, "endpoints", 0),
            boots: Boots::new(options.run_seed()),
            placement: draws::ties(seed),
            image_pull: profile.local.image_pull,
            short_until: 0,
            dirty: false,
            changed: 0,
            flows,
            flow: Flow::default(),
            skipped: 0,
            warned: BTreeSet::new(),
            tests,
            results: Vec::new(),
            before: Moment::default(),
            ended: 0,
            settled_s: None,
            notes: Vec::new(),
            first_sync: 0,
            done: false,
            sights: None,
        })
    }

    /// Nodes and pods as they are before a run; loops begin at a moment of their own, as in a cluster that has been up.
    fn stand_up(&mut self) {
        // A run waits for the nodes that the least replicas need.
        let needed = capacity::needed(self.profile, |workload| workload.replicas);
        for (pool, (settings, (_, needed))) in self.profile.pools.iter().zip(&needed.pools).enumerate() {
            let count = settings.count.max(*needed);
            for _ in 0..count {
                let number = self.pools[pool].number();
                self.join(pool, number);
            }
            self.pools[pool].target = count;
        }
        self.tell_nodes(String::new(), "listed", String::new());
        self.reconcile();
        for pod in 0..self.pods.len() as u32 {
            if self.pods[pod as usize].phase == Phase::Starting {
                self.pods[pod as usize].phase = Phase::Running;
                self.set_ready(pod, true);
                self.serve(pod);
            }
        }
        self.reconcile();
        let mut phases = Random::new(self.options.seed, "phases", 0);
        let mut within = |period: Nanos| phases.below(period.max(1));
        self.first_sync = within(self.real(SYNC));
        self.agenda.plan(self.first_sync, Happening::Sync);
        self.agenda.plan(within(self.real(SYNC)), Happening::Metrics);
        self.agenda.plan(within(self.real(Duration::from_secs(1))), Happening::Scrape);
        for workload in self.scaled.clone() {
            self.agenda.plan(within(self.real(SYNC)), Happening::Poll { workload: workload as u32 });
        }
        if let Some(scanner) = &self.scanner {
            self.agenda.plan(within(self.real(scanner.interval)), Happening::Scan);
        }
    }

    /// When the run begins.
    fn first_moment(&self) -> Nanos {
        if let Some(phase) = self.options.known.as_ref().and_then(|known| known.phase) {
            return self.first_sync + self.real(WARM_UP) + self.real(phase);
        }
        let mut random = Random::new(self.options.seed, "launch", 0);
        let launch = random.between(LAUNCH.0, LAUNCH.1);
        if self.options.any_phase {
            return self.real(WARM_UP) + random.below(self.real(SYNC).max(1));
        }
        let Some(web) = self.web else { return self.real(WARM_UP) };
        let period = self.profile.workloads[web.workload].probes.readiness.period;
        self.first_sync + self.real(WARM_UP) + self.real(self.profile.local.container_start + period / 2) + launch
    }

    /// A duration of the profile, divided by the speed.
    fn real(&self, profile: Duration) -> Nanos {
        if (self.speed - 1.0).abs() < f64::EPSILON { nanos(profile) } else { nanos(profile.div_f64(self.speed)) }
    }

    /// Profile time since the world began, as autoscalers count it.
    fn profile_s(&self) -> f64 {
        self.now as f64 / 1e9 * self.speed
    }

    /// Profile time since the run began; what is before it counts as its beginning.
    fn at_s(&self) -> f64 {
        self.origin.map_or(0.0, |origin| (self.now - origin + self.skipped) as f64 / 1e9 * self.speed)
    }

    fn tell(&mut self, fact: Fact) {
        self.book.record(self.at_s(), fact);
    }

    /// Another event of Kubernetes.
    fn note(&mut self, kind: &str, name: &str, reason: &str, message: &str, severity: &str) {
        if self.origin.is_none() {
            return;
        }
        self.tell(Fact::Kubernetes {
            object: format!("{kind}/{name}"),
            reason: reason.to_owned(),
            message: message.to_owned(),
            kind: severity.to_owned(),
        });
    }

    fn run(&mut self) {
        while !self.done {
            let Some((at, what)) = self.agenda.pop() else { return };
            self.now = at;
            self.happen(what);
            if self.dirty || self.changed == at {
                self.reconcile();
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Resume { vu, epoch } => self.resume(vu, epoch),
            Happening::Answered { vu, epoch } => self.answered(vu, epoch),
            Happening::Overdue { vu, epoch } => self.overdue(vu, epoch),
            Happening::Drive => self.drive(),
            Happening::Drained => self.drained(),
            Happening::Claim { pod } => self.claim(pod),
            Happening::Stored { pod, epoch } => self.stored(pod, epoch),
            Happening::Started { pod } => self.started(pod),
            Happening::Serving { pod } => self.serving(pod),
            Happening::Killed { pod } => self.grace_is_over(pod),
            Happening::Reclaimed { pod } => self.reclaim(pod),
            Happening::Joined { pool, number } => self.joined(pool as usize, number),
            Happening::Draining { node } => self.draining(node),
            Happening::Scrape => self.scrape(),
            Happening::Metrics => self.measure(),
            Happening::Sync => self.sync(),
            Happening::Poll { workload } => self.poll(workload as usize),
            Happening::Scan => self.scan(),
            Happening::Sample => self.sample(),
            Happening::Settled => self.settled(),
            Happening::Begin => self.begin(),
            Happening::Fault { index, part } => self.fault(index, part),
            Happening::Flow => self.flow_step(),
        }
    }

    fn begin(&mut self) {
        self.origin = Some(self.now);
        self.tell_autoscalers();
        self.tell(Fact::RunStarted {
            environment: "forecast".to_owned(),
            profile: self.profile.name.clone(),
            speed: self.speed,
        });
        self.book.begin();
        self.before = self.book.moment().clone();
        self.plan_faults();
        self.next_test();
    }

    fn next_test(&mut self) {
        let Some(test) = self.tests.get(self.results.len()).copied() else {
            let passed = self.results.iter().all(|result| result.verdict == Verdict::Pass);
            self.tell(Fact::RunFinished { passed });
            self.ended = self.now;
            return self.settled();
        };
        if let Some(begin) = self.known_begin(self.results.len()).filter(|begin| *begin > self.now) {
            return self.agenda.plan(begin, Happening::Drained);
        }
        self.tell(Fact::TestStarted { test: test.name.clone() });
        self.begin_load(test);
    }

    /// When the test of this number begins, where that is known.
    fn known_begin(&self, test: usize) -> Option<Nanos> {
        let after = self.options.known.as_ref()?.begins.get(&self.tests.get(test)?.name)?;
        Some(self.origin? + self.real(*after))
    }

    fn test_ended(&mut self, result: TestResult) {
        let passed = result.verdict == Verdict::Pass;
        self.tell(Fact::TestFinished { test: result.name.clone(), passed });
        self.results.push(result);
        self.ended = self.now;
        self.drained();
    }

    /// What a test left in the queue belongs to it, not to the next one.
    fn drained(&mut self) {
        if self.store.open() == 0 {
            return self.next_test();
        }
        if self.now - self.ended > self.real(DRAIN_LIMIT) {
            self.notes.push(format!("{} messages were left in the queue an hour after a test", self.store.open()));
            return self.next_test();
        }
        self.agenda.plan(self.now + DRAIN_TICK, Happening::Drained);
    }

    fn settled(&mut self) {
        let moment = self.book.moment();
        let nodes: u32 = moment.billed.values().sum();
        let passed = self.now - self.ended;
        if !self.options.settle {
            self.done = true;
        } else if moment.now == self.before.now && nodes as i32 == self.before.now.nodes {
            self.settled_s = Some(passed as f64 / 1e9 * self.speed);
            self.done = true;
        } else if passed > self.real(settle_limit(self.profile)) {
            self.done = true;
        } else {
            self.agenda.plan(self.now + self.real(SETTLE_TICK), Happening::Settled);
        }
    }

    fn sample(&mut self) {
        let cpu = |workload: &Workload| {
            let usage = workload.pods.iter().filter_map(|pod| self.monitoring.usage.get(pod));
            (workload.name.clone(), usage.map(|usage| usage.cpu_milli).sum())
        };
        let cpu_milli = self.workloads.iter().filter(|workload| workload.index.is_some()).map(cpu).collect();
        let usd_per_hour = self.profile.prices.per_hour(&self.book.moment().billed_nodes()).unwrap_or(f64::NAN);
        let (queue, processed) = (Some(self.store.open() as u64), Some(self.store.processed));
        self.tell(Fact::Sample { queue, processed, cpu_milli, usd_per_hour });
        self.agenda.plan(self.now + self.real(SYNC), Happening::Sample);
    }

    fn close(mut self) -> Forecast {
        if self.store.lost > 0 {
            self.notes.push(format!("{} messages were lost with redis", self.store.lost));
        }
        let at_s = self.at_s();
        let (events, after) = self.book.close(at_s);
        Forecast {
            tests: self.results,
            events,
            before: self.before,
            after,
            settled_s: self.settled_s,
            notes: self.notes,
        }
    }
}

/// Pods go after the HPA's window, nodes after the autoscaler's two timers; twice that is never.
pub fn settle_limit(profile: &Profile) -> Duration {
    let nodes = profile
        .autoscaler
        .as_ref()
        .map_or(Duration::ZERO, |settings| settings.scale_down_delay_after_add.max(settings.scale_down_unneeded_time));
    (Duration::from_secs(600) + nodes) * 2
}

/// The disruption budgets of the app's Deployments.
fn budgets(workloads: &[Workload], profile: &Profile) -> Vec<(usize, Selector)> {
    let parts = crate::render::parts(profile, "forecast");
    let objects = parts.iter().flat_map(|part| &part.manifests).filter(|o| o["kind"] == "PodDisruptionBudget");
    let budget = |object: &serde_json::Value| {
        let workload = workloads.iter().position(|workload| object["metadata"]["name"] == workload.name)?;
        Some((workload, Selector::from_json(&object["spec"]["selector"])))
    };
    objects.filter_map(budget).collect()
}
