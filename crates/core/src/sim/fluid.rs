//! Days and months of traffic, in rates: one step for each sync of the autoscalers, no single request.
//!
//! The profile's `traffic` tells a share of the suite's hardest test: at load 0.5 half of its VUs repeat its journey. They
//! are a closed loop: so many VUs that each need a service and then pause give `vus / (service + pause)` journeys a second
//! until the pods' places are full, then the places' own rate; who waits is in flight, who finds the queue full is refused.
//! The cluster around it (autoscalers, scheduler, machines) is that of the request level. While nothing changes for longer
//! than any of its parts remembers, the time to the next change is passed over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    ForecastError, Options, World,
    agenda::{Happening, Nanos, nanos},
    monitoring::SYNC,
    route::{NETWORK, Stride, Writes, journey},
};
use crate::{
    autoscale::keda::Cron,
    catalog::HOURS_PER_MONTH,
    cost,
    event::Event,
    profile::{Profile, Scaling},
    timeline::Counts,
};

/// What a time of traffic came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrafficForecast {
    /// Days.
    pub days: u32,
    /// The test whose VUs the traffic is a share of.
    pub test: String,
    /// Requests.
    pub requests: f64,
    /// Share of them that were refused.
    pub failed_rate: f64,
    /// Messages that stood in the queue at most.
    pub queue_max: f64,
    /// Node-hours.
    pub node_hours: f64,
    /// Dollars of this time.
    pub usd: f64,
    /// Dollars of a month of such days.
    pub monthly_usd: f64,
    /// Greatest numbers of ready nodes and pods.
    pub peak: Counts,
    /// What there was, at each change.
    pub steps: Vec<TrafficStep>,
    /// The timeline.
    #[serde(skip)]
    pub events: Vec<Event>,
}

/// From a moment on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrafficStep {
    /// Seconds since the first midnight.
    pub at_s: f64,
    /// Share of the hardest test.
    pub load: f64,
    /// Answered requests a second.
    pub rps: f64,
    /// Refused requests a second.
    pub refused: f64,
    /// Requests in flight, executing and waiting.
    pub in_flight: f64,
    /// Messages in the queue.
    pub queue: f64,
    /// Nodes and pods.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The hardest test's journey, and the rates at this moment.
#[derive(Debug, Default)]
pub(super) struct Flow {
    test: String,
    vus: f64,
    service_s: f64,
    pause_s: f64,
    /// Counter and refusal's counter of each request of a journey.
    counters: Vec<(u32, u32)>,
    writes: f64,
    end_s: f64,
    since: Nanos,
    load: f64,
    /// Which cron triggers are active.
    crons: Vec<bool>,
    /// When the load or a cron trigger last changed.
    load_changed: Nanos,
    memory: Nanos,
    journeys: f64,
    refused: f64,
    in_flight: f64,
    carry: f64,
    requests: f64,
    failed: f64,
    queue_max: f64,
    steps: Vec<TrafficStep>,
}

/// Forecasts so many days of the profile's traffic, from midnight on.
///
/// # Errors
/// What the profile or the options lack.
pub fn traffic(profile: &Profile, options: &Options, days: u32) -> Result<TrafficForecast, ForecastError> {
    let mut world = World::new(profile, options, true)?;
    world.begin_flow(days);
    world.run();
    Ok(world.close_flow(days))
}

/// An autoscaler sees no means: its window of scaling down keeps the greatest of so many readings.
const READINGS: f64 = 20.0;
/// That lies so many standard deviations above the mean (of a normal distribution).
const GREATEST_OF_READINGS: f64 = 1.87;

/// The root of that degree of a number above 1, by bisection: what `powf` gives differs from machine to machine.
fn root(number: f64, degree: u32) -> f64 {
    let power = |base: f64| (0..degree).fold(1.0, |product, _| product * base);
    let (mut low, mut high) = (1.0, number);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if power(middle) > number { high = middle } else { low = middle }
    }
    low
}

/// The first midnight: a Monday, 1 January 2024, UTC.
const MIDNIGHT: i64 = 1_704_067_200;

/// The date and time so many seconds after the first midnight, to the millisecond.
pub(super) fn date(at_s: f64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(MIDNIGHT * 1000 + (at_s * 1000.0).round() as i64).unwrap_or_default()
}

fn since_midnight_s(date: DateTime<Utc>) -> f64 {
    (date.timestamp_millis() - MIDNIGHT * 1000) as f64 / 1e3
}

/// Polls of a journey: the first comes too early, the second finds the message stored.
const POLLS: f64 = 2.0;

impl World<'_> {
    fn begin_flow(&mut self, days: u32) {
        let Some(web) = self.web else { return };
        let mut hardest = Flow::default();
        let mut most = -1.0;
        for test in self.tests.clone() {
            let mut flow = Flow { test: test.name.clone(), ..Flow::default() };
            flow.vus = f64::from(crate::plan::Plan::new(&test.executor, 1.0).most_vus());
            for stride in journey(test, web.settings, &mut self.counters) {
                flow.add(stride);
            }
            let places = flow.vus * flow.service_s / (flow.service_s + flow.pause_s).max(f64::MIN_POSITIVE);
            if places > most {
                (most, hardest) = (places, flow);
            }
        }
        hardest.end_s = f64::from(days) * 86_400.0;
        hardest.memory = self.real(memory(self.profile));
        self.flow = hardest;
        let begin = self.first_sync + self.real(SYNC * 12) - self.real(Duration::from_secs(2));
        self.agenda.plan(begin, Happening::Flow);
    }

    /// Seconds since the first midnight at which the load changes next.
    fn next_change_s(&self, now_s: f64) -> f64 {
        let midnight = (now_s / 86_400.0).floor() * 86_400.0;
        let times = |day: f64| self.profile.traffic.day.iter().map(move |p| day + f64::from(p.at_minute) * 60.0);
        let next = times(midnight).chain(times(midnight + 86_400.0)).find(|at| *at > now_s + 1e-6);
        let crons = self.crons().filter_map(|cron| Some(since_midnight_s(cron.next_change(date(now_s))?)));
        crons.fold(next.unwrap_or(f64::INFINITY), f64::min).min(self.flow.end_s)
    }

    /// The cron triggers.
    fn crons(&self) -> impl Iterator<Item = &Cron> {
        let scalers = self.workloads.iter().filter_map(|workload| workload.scaler.as_ref());
        scalers.flat_map(|scaler| scaler.crons())
    }

    fn load_at(&self, now_s: f64) -> f64 {
        let minute = (now_s / 60.0).rem_euclid(1440.0) + 1e-9;
        let day = &self.profile.traffic.day;
        let period = day.iter().rev().find(|period| f64::from(period.at_minute) <= minute).or(day.last());
        period.map_or(0.0, |period| period.load)
    }

    /// A step: what flowed since the last one is counted, the rates are worked out anew, Prometheus looks at them.
    pub(super) fn flow_step(&mut self) {
        if self.origin.is_none() {
            self.origin = Some(self.now);
            self.book.begin();
            self.before = self.book.moment().clone();
            self.flow.since = self.now;
            self.flow.load = f64::NAN;
        }
        let passed = (self.now - self.flow.since) as f64 / 1e9;
        self.flow.since = self.now;
        self.count_flow(passed);
        let now_s = self.at_s();
        if now_s >= self.flow.end_s {
            self.done = true;
            return;
        }
        let load = self.load_at(now_s);
        let crons = self.crons().map(|cron| cron.is_active(date(now_s)).unwrap_or(false)).collect();
        if load.to_bits() != self.flow.load.to_bits() || crons != self.flow.crons {
            (self.flow.load, self.flow.crons, self.flow.load_changed) = (load, crons, self.now);
        }
        self.rates();
        self.scrape();
        self.step_of_flow(now_s);
        let quiet = self.machines_rest() && self.now - self.changed.max(self.flow.load_changed) > self.flow.memory;
        let next_s = self.next_change_s(now_s);
        let to_next = Duration::try_from_secs_f64(next_s - now_s).unwrap_or_default();
        let mut after = self.real(SYNC);
        if quiet && self.flow.carry < 1.0 && to_next > SYNC * 3 {
            // Nothing in this world but load and cron triggers knows what time it is: it goes on as if this had not been.
            let skip = self.real(to_next.saturating_sub(SYNC));
            self.skipped += skip;
            self.flow_totals(skip as f64 / 1e9);
        } else {
            after = after.min(self.real(to_next).max(1));
        }
        self.agenda.plan(self.now + after, Happening::Flow);
    }

    fn flow_totals(&mut self, passed: f64) {
        let flow = &mut self.flow;
        let (answered, refused) = (flow.journeys * flow.counters.len() as f64 * passed, flow.refused * passed);
        flow.requests += answered + refused;
        flow.failed += refused;
    }

    /// What flowed in `passed` seconds reaches the pods' counters, the queue and the workers.
    fn count_flow(&mut self, passed: f64) {
        self.flow_totals(passed);
        let Some(web) = self.web else { return };
        let pods = self.endpoints.clone();
        let share = passed / pods.len().max(1) as f64;
        let (journeys, refused) = (self.flow.journeys * share, self.flow.refused * share);
        let requests = self.flow.counters.len() as f64;
        for pod in pods {
            let process = &mut self.pods[pod as usize].process;
            for (counter, refusal) in &self.flow.counters {
                process.count(*counter, journeys);
                process.count(*refusal, refused / requests);
            }
            process.cpu_s += journeys * requests * web.cpu_s;
        }
        let arrived = self.flow.journeys * self.flow.writes * passed;
        let workers = self.ready_workers();
        let stored = (self.flow.carry + arrived).min(self.worker_rate(&workers) * passed);
        self.flow.carry = (self.flow.carry + arrived - stored).max(0.0);
        let share = stored / workers.len().max(1) as f64;
        for pod in workers {
            let cpu = self.workloads[self.pods[pod as usize].workload].worker.as_ref();
            let cpu_s = cpu.map_or(0.0, |worker| worker.cpu_per_message.as_secs_f64());
            let process = &mut self.pods[pod as usize].process;
            process.cpu_s += share * cpu_s;
            process.processed += share;
        }
    }

    fn ready_workers(&self) -> Vec<u32> {
        let of =
            |workload: &super::Workload| if workload.worker.is_some() { workload.pods.clone() } else { Vec::new() };
        let up = |pod: &u32| self.pods[*pod as usize].process.up && !self.pods[*pod as usize].deleting;
        self.workloads.iter().flat_map(of).filter(up).collect()
    }

    /// Messages a second that these workers store at most.
    fn worker_rate(&self, workers: &[u32]) -> f64 {
        let rate = |pod: &u32| {
            let worker = self.workloads[self.pods[*pod as usize].workload].worker.as_ref();
            worker.map_or(0.0, |worker| f64::from(worker.batch) / super::app::batch_s(worker))
        };
        workers.iter().map(rate).sum()
    }

    /// The closed loop's rates with the pods that are ready now.
    fn rates(&mut self) {
        let Some(web) = self.web else { return };
        let pods = self.endpoints.len() as f64;
        let flow = &mut self.flow;
        let vus = flow.vus * flow.load;
        let wanted = vus / (flow.service_s + flow.pause_s).max(1e-3);
        let most = pods * f64::from(web.settings.concurrency) / flow.service_s.max(1e-6);
        flow.journeys = wanted.min(most);
        let inside = (vus - flow.journeys * flow.pause_s).max(0.0);
        flow.in_flight = inside.min(pods * f64::from(web.limit));
        // Who is refused pauses as others do and comes back.
        flow.refused = (inside - flow.in_flight) / flow.pause_s.max(1e-3);
        let executing = flow.journeys * flow.service_s;
        let (in_flight, written) = (flow.in_flight, flow.journeys * flow.writes);
        let share = if vus > 0.0 { inside / vus } else { 0.0 };
        let seen = (in_flight + GREATEST_OF_READINGS * (inside * (1.0 - share)).max(0.0).sqrt()).min(vus);
        for pod in self.endpoints.clone() {
            let process = &mut self.pods[pod as usize].process;
            (process.flowing, process.flowing_executing) = (seen / pods, executing / pods);
        }
        let workers = self.ready_workers();
        // Between two claims the list holds what came since; of so many workers one claims early, but not always.
        let batch = workers.first().and_then(|pod| self.workloads[self.pods[*pod as usize].workload].worker.as_ref());
        let age = 1.0 - 1.0 / root(READINGS, workers.len() as u32);
        let standing = batch.map_or(0.0, |worker| written * super::app::batch_s(worker) * age);
        self.store.backlog = self.flow.carry + standing;
        self.flow.queue_max = self.flow.queue_max.max(self.store.backlog);
    }

    fn step_of_flow(&mut self, at_s: f64) {
        let counts = &self.book.moment().now;
        let flow = &self.flow;
        let same = |last: &TrafficStep| last.counts == *counts && last.load.to_bits() == flow.load.to_bits();
        if !flow.steps.last().is_some_and(same) {
            let step = TrafficStep {
                at_s,
                load: flow.load,
                rps: flow.journeys * flow.counters.len() as f64,
                refused: flow.refused,
                in_flight: flow.in_flight,
                queue: self.store.backlog,
                counts: counts.clone(),
            };
            self.flow.steps.push(step);
        }
    }

    fn close_flow(self, days: u32) -> TrafficForecast {
        let prices = &self.profile.prices;
        let flow = self.flow;
        let (events, after) = self.book.close(flow.end_s);
        let spent = cost::run(prices, &after.node_steps, Duration::ZERO, Duration::from_secs_f64(flow.end_s));
        let usd = spent.as_ref().map_or(f64::NAN, |spent| spent.run_usd);
        TrafficForecast {
            days,
            test: flow.test,
            requests: flow.requests,
            failed_rate: if flow.requests > 0.0 { flow.failed / flow.requests } else { 0.0 },
            queue_max: flow.queue_max,
            node_hours: spent.map_or(f64::NAN, |spent| spent.node_hours),
            usd,
            monthly_usd: usd / (f64::from(days) * 24.0) * HOURS_PER_MONTH,
            peak: after.peak,
            steps: flow.steps,
            events,
        }
    }
}

impl Flow {
    fn add(&mut self, stride: Stride) {
        let (route, times) = match stride {
            Stride::Think(least, most) => {
                self.pause_s += (least + most) as f64 / 2e9;
                return;
            }
            Stride::Request(route) => (route, 1.0),
            Stride::Poll { route, interval, .. } => {
                self.pause_s += interval as f64 / 1e9 * (POLLS - 1.0);
                (route, POLLS)
            }
        };
        self.service_s += route.service.unwrap_or(0) as f64 / 1e9 * times;
        self.pause_s += nanos(NETWORK) as f64 / 1e9 * times;
        self.writes += if route.writes == Writes::Message { 1.0 } else { 0.0 };
        self.counters.extend(std::iter::repeat_n((route.counters[0], route.counters[2]), times as usize));
    }
}

/// How long anything in the cluster remembers, other than machines that come or go: windows and periods of autoscalers,
/// ranges of queries, nodes that are left alone.
fn memory(profile: &Profile) -> Duration {
    let rules = |scaling: &Scaling| {
        let sides = [scaling.behavior.scale_up.as_ref(), scaling.behavior.scale_down.as_ref()];
        let seconds = |rules: &crate::profile::ScalingRules| {
            let periods = rules.policies.iter().map(|policy| policy.period_seconds).max().unwrap_or(0);
            periods.max(rules.window.unwrap_or(0))
        };
        let longest = sides.into_iter().flatten().map(seconds).max().unwrap_or(0);
        Duration::from_secs(u64::from(longest)).max(scaling.cooldown)
    };
    let scaling = profile.workloads.iter().filter_map(|workload| workload.scaling.as_ref());
    let windows = scaling.map(rules).max().unwrap_or_default().max(Duration::from_secs(300));
    windows.max(super::machines::RECHECK).max(super::monitoring::longest_range(profile)) + SYNC * 4
}
