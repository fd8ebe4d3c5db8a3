//! Virtual users: executors, journeys, connections, and what they measure. The rules are those of `democtl-loadgen`.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{
    World,
    agenda::{Happening, NEVER, Nanos, nanos},
    app::STORE_TIMEOUT,
    route::{NETWORK, Route, Stride, Writes, journey},
};
use crate::{
    draws::Pauses,
    figures::{Measured, Tally, add, histogram},
    plan::Plan,
    suite::{Step, Test},
    verdict::{Second, TestResult, Verdict},
};

/// No pod, or no message.
const NONE: u32 = u32::MAX;
/// How often the executor looks how many VUs are to run, and how often it is looked whether the queue is empty.
const TICK: Nanos = 10_000_000;
/// Longest wait for an answer; k6's default.
const REQUEST_TIMEOUT: Nanos = 60_000_000_000;
/// How a fast failure is told from one that takes no time at all: a journey of those must get on.
const RESET: Nanos = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between two lives.
    Idle,
    /// In a pause of its journey.
    Pausing,
    /// Its request is in a pod's queue.
    Waiting,
    /// Its request executes.
    Executing,
    /// Its request has reached nobody.
    Stuck,
}

#[derive(Debug)]
struct Vu {
    pauses: Pauses,
    epoch: u32,
    connection: u32,
    served: u32,
    step: u32,
    place: Place,
    /// The store kept its request waiting once.
    held: bool,
    sent: Nanos,
    began: Nanos,
    message: u32,
    poll_until: Nanos,
    finish_by: Nanos,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Usual,
    Broken,
    Refused,
    None,
}

/// A test that runs, with everything measured in it.
#[derive(Debug)]
pub(super) struct Load {
    plan: Plan,
    journey: Vec<Stride>,
    vus: Vec<Vu>,
    active: u32,
    busy: u32,
    begun: Nanos,
    over: bool,
    graceful_stop: Nanos,
    total: Tally,
    steps: Vec<Tally>,
    second: Tally,
    seconds: Vec<Second>,
    checks: [u64; 2],
    iterations: Histogram<u64>,
    interrupted: u64,
    vus_max: u32,
}

impl Load {
    fn new(test: &Test, journey: Vec<Stride>, (seed, speed): (u64, f64), epoch: u32, now: Nanos) -> Self {
        let plan = Plan::new(&test.executor, speed);
        let vu = |number| Vu {
            pauses: Pauses::new(seed, &test.name, number + 1),
            epoch,
            connection: NONE,
            served: 0,
            step: 0,
            place: Place::Idle,
            held: false,
            sent: 0,
            began: 0,
            message: NONE,
            poll_until: 0,
            finish_by: NEVER,
        };
        Self {
            vus: (0..plan.most_vus()).map(vu).collect(),
            journey,
            active: 0,
            busy: 0,
            begun: now,
            over: false,
            graceful_stop: nanos(test.graceful_stop.div_f64(speed)),
            plan,
            total: Tally::new(3),
            steps: test.journey.iter().map(|_| Tally::new(3)).collect(),
            second: Tally::new(2),
            seconds: Vec::new(),
            checks: [0; 2],
            iterations: histogram(3),
            interrupted: 0,
            vus_max: 0,
        }
    }

    /// Seconds that have passed are closed.
    fn turn(&mut self, now: Nanos) {
        let second = ((now - self.begun) / 1_000_000_000) as usize;
        while self.seconds.len() < second {
            let full = std::mem::replace(&mut self.second, Tally::new(2));
            self.seconds.push(full.second(self.seconds.len() as u32, self.active));
        }
    }

    fn record(&mut self, figures: u32, took: Nanos, failed: bool) {
        let took = Duration::from_nanos(took);
        self.total.record(took, failed);
        self.steps[figures as usize].record(took, failed);
        self.second.record(took, failed);
    }

    fn check(&mut self, held: bool) {
        self.checks[usize::from(held)] += 1;
    }

    fn result(&mut self, test: &Test, took: Nanos) -> TestResult {
        let last = std::mem::replace(&mut self.second, Tally::new(2));
        if last.requests() > 0 {
            self.seconds.push(last.second(self.seconds.len() as u32, self.active));
        }
        let seconds = took as f64 / 1e9;
        let [checks_failed, checks_passed] = self.checks;
        let measured = Measured { total: &self.total, checks_passed, checks_failed, iterations: &self.iterations };
        let thresholds = measured.results(test, seconds);
        let passed = thresholds.iter().all(|result| result.verdict == Verdict::Pass);
        let steps = test.journey.iter().zip(&self.steps).filter_map(|(step, tally)| match step {
            Step::Request(request) => Some((request.name.clone(), tally.figures(seconds))),
            Step::PollUntil { name, .. } => Some((name.clone(), tally.figures(seconds))),
            Step::Think { .. } => None,
        });
        TestResult {
            name: test.name.clone(),
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            engine: "forecast".to_owned(),
            duration_s: seconds,
            total: self.total.figures(seconds),
            steps: steps.collect(),
            seconds: std::mem::take(&mut self.seconds),
            checks_passed,
            checks_failed,
            iterations: self.iterations.len(),
            iterations_interrupted: self.interrupted,
            vus_max: self.vus_max,
            thresholds,
        }
    }
}

impl World<'_> {
    /// Starts a test.
    pub(super) fn begin_load(&mut self, test: &Test) {
        let Some(web) = self.web else { return };
        let journey = journey(test, web.settings, &mut self.counters);
        // What was planned for a VU of an earlier test is not meant for its namesake.
        let epoch = (self.results.len() as u32) << 20;
        let draws = (self.options.run_seed(), self.speed);
        let mut load = Load::new(test, journey, draws, epoch, self.now);
        if let Some(next) = self.known_begin(self.results.len() + 1) {
            // Whatever chance kept the last users longer than in the run.
            load.graceful_stop = load.graceful_stop.min(next.saturating_sub(self.now + nanos(load.plan.length())));
        }
        self.load = Some(Box::new(load));
        self.drive();
    }

    /// Starts and stops VUs as the plan says; at its end all finish what they are at.
    pub(super) fn drive(&mut self) {
        let now = self.now;
        let Some(load) = &mut self.load else { return };
        load.turn(now);
        let elapsed = Duration::from_nanos(now - load.begun);
        if elapsed >= load.plan.length() {
            let last = now + load.graceful_stop;
            load.over = true;
            for vu in 0..load.vus.len() as u32 {
                self.finish(vu, last);
            }
            return self.end_load_when_idle();
        }
        let wanted = load.plan.vus_at(elapsed);
        let active = std::mem::replace(&mut load.active, wanted);
        load.vus_max = load.vus_max.max(wanted);
        let last = now + nanos(load.plan.graceful_ramp_down());
        for vu in wanted..active {
            self.finish(vu, last);
        }
        for vu in active..wanted {
            self.start(vu);
        }
        self.agenda.plan(now + TICK, Happening::Drive);
    }

    fn start(&mut self, vu: u32) {
        let now = self.now;
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        entry.finish_by = NEVER;
        if entry.place == Place::Idle {
            load.busy += 1;
            entry.step = 0;
            entry.began = now;
            entry.message = NONE;
            self.advance(vu);
        }
    }

    fn finish(&mut self, vu: u32, last: Nanos) {
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        if last < entry.finish_by {
            entry.finish_by = last;
            if entry.place != Place::Idle {
                self.agenda.plan(last, Happening::Overdue { vu, epoch: entry.epoch });
            }
        }
    }

    /// Goes on with the journey until it has to wait for something.
    fn advance(&mut self, vu: u32) {
        loop {
            let now = self.now;
            let Some(load) = &mut self.load else { return };
            let entry = &mut load.vus[vu as usize];
            match load.journey.get(entry.step as usize).copied() {
                None => {
                    add(&mut load.iterations, Duration::from_nanos(now - entry.began));
                    if entry.finish_by != NEVER {
                        entry.place = Place::Idle;
                        load.busy -= 1;
                        return self.end_load_when_idle();
                    }
                    let stands_still = entry.began == now;
                    (entry.step, entry.began, entry.message) = (0, now, NONE);
                    if stands_still {
                        return self.pause(vu, RESET);
                    }
                }
                Some(Stride::Think(least, most)) => {
                    let think = nanos(entry.pauses.next(Duration::from_nanos(least), Duration::from_nanos(most)));
                    entry.step += 1;
                    if think > 0 {
                        return self.pause(vu, think + nanos(NETWORK));
                    }
                }
                Some(Stride::Poll { .. }) if entry.message == NONE => {
                    entry.step += 1;
                    load.check(false);
                }
                Some(Stride::Poll { route, timeout, .. }) => {
                    if entry.poll_until == 0 {
                        entry.poll_until = now + timeout;
                    }
                    return self.send(vu, route);
                }
                Some(Stride::Request(route)) => return self.send(vu, route),
            }
        }
    }

    fn pause(&mut self, vu: u32, pause: Nanos) {
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        entry.place = Place::Pausing;
        self.agenda.plan(self.now + pause, Happening::Resume { vu, epoch: entry.epoch });
    }

    /// A pause is over, or a request that reached nobody is given up.
    pub(super) fn resume(&mut self, vu: u32, epoch: u32) {
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        if entry.epoch != epoch {
            return;
        }
        if entry.place == Place::Stuck {
            return self.answer(vu, Answer::None);
        }
        self.advance(vu);
    }

    /// Sends a request on the VU's connection, or on a new one to any ready pod.
    fn send(&mut self, vu: u32, route: Route) {
        let (Some(load), Some(web)) = (&mut self.load, self.web) else { return };
        let entry = &mut load.vus[vu as usize];
        entry.sent = self.now;
        let open = entry.connection != NONE && {
            let process = &self.pods[entry.connection as usize].process;
            process.up && !process.draining
        };
        if !open {
            let choice = self.endpoints.len() as u64;
            entry.connection = if choice == 0 { NONE } else { self.endpoints[self.random.below(choice) as usize] };
            entry.served = 0;
        }
        if entry.connection == NONE {
            return self.answer(vu, Answer::None);
        }
        let process = &mut self.pods[entry.connection as usize].process;
        if !process.up {
            // Its machine is gone and nobody knows yet.
            entry.place = Place::Stuck;
            return self.agenda.plan(self.now + REQUEST_TIMEOUT, Happening::Resume { vu, epoch: entry.epoch });
        }
        entry.served += 1;
        let Some(service) = route.service else { return self.answer(vu, Answer::Usual) };
        let executing = process.executing;
        if process.in_flight() >= web.limit {
            self.answer(vu, Answer::Refused);
        } else if executing >= web.settings.concurrency {
            entry.place = Place::Waiting;
            process.waiting.push_back(vu);
        } else {
            process.executing += 1;
            self.execute(vu, service);
        }
    }

    /// The VU's request has a place and is worked on.
    fn execute(&mut self, vu: u32, service: Nanos) {
        let (Some(load), Some(web)) = (&mut self.load, self.web) else { return };
        let entry = &mut load.vus[vu as usize];
        entry.place = Place::Executing;
        entry.held = false;
        let process = &mut self.pods[entry.connection as usize].process;
        process.cpu_s += web.cpu_s;
        if self.monitoring.histograms {
            process.waits.observe(self.now - entry.sent);
        }
        self.agenda.plan(self.now + service, Happening::Answered { vu, epoch: entry.epoch });
    }

    /// A place in a pod is free: the one that has waited longest gets it.
    fn free(&mut self, pod: u32) {
        let process = &mut self.pods[pod as usize].process;
        let Some(next) = process.waiting.pop_front() else {
            process.executing -= 1;
            return;
        };
        let Some(load) = &self.load else { return };
        let service = match load.journey[load.vus[next as usize].step as usize] {
            Stride::Request(route) | Stride::Poll { route, .. } => route.service.unwrap_or(0),
            Stride::Think(..) => 0,
        };
        self.execute(next, service);
    }

    /// The backend is done with a VU's request.
    pub(super) fn answered(&mut self, vu: u32, epoch: u32) {
        let up = self.store_is_up();
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        if entry.epoch != epoch {
            return;
        }
        if !up && !entry.held {
            entry.held = true;
            let until = if self.store.paused_until > self.now { self.store.paused_until } else { NEVER };
            let at = until.min(self.now + STORE_TIMEOUT);
            return self.agenda.plan(at, Happening::Answered { vu, epoch });
        }
        let pod = entry.connection;
        self.free(pod);
        self.answer(vu, if up { Answer::Usual } else { Answer::Broken });
        let process = &self.pods[pod as usize].process;
        if process.draining && process.in_flight() == 0 {
            self.exit(pod);
        }
    }

    /// Takes an answer in and goes on.
    fn answer(&mut self, vu: u32, answer: Answer) {
        let Some(load) = &self.load else { return };
        let entry = &load.vus[vu as usize];
        let stride = load.journey[entry.step as usize];
        let (Stride::Request(route) | Stride::Poll { route, .. }) = stride else { return };
        let (good, counter) = match answer {
            Answer::Usual => (route.good, Some(route.counters[0])),
            Answer::Broken => (route.good_502, Some(route.counters[1])),
            Answer::Refused => (route.good_503, Some(route.counters[2])),
            Answer::None => (false, None),
        };
        let took = self.now - entry.sent + nanos(NETWORK);
        let at_once = matches!(answer, Answer::Refused | Answer::None) || route.service.is_none();
        let message = match (answer, route.writes) {
            (Answer::Usual, Writes::Message) => self.put(true),
            (Answer::Usual, Writes::Customer) => self.put(false),
            _ => NONE,
        };
        self.turn_over(vu, answer, counter, took);
        let now = self.now;
        let Some(load) = &mut self.load else { return };
        load.turn(now);
        load.record(route.figures, took, !good);
        let entry = &mut load.vus[vu as usize];
        let mut pause = if at_once { RESET } else { 0 };
        if let Stride::Poll { interval, awaited, .. } = stride {
            let message = entry.message as usize;
            let stored = good && awaited && self.store.stored.get(message).is_some_and(|stored| *stored);
            if stored || now + interval > entry.poll_until {
                (entry.poll_until, entry.step) = (0, entry.step + 1);
                load.check(stored);
            } else {
                pause = interval;
            }
        } else {
            (entry.message, entry.step) = (message, entry.step + 1);
            load.check(good);
        }
        if pause > 0 { self.pause(vu, pause) } else { self.advance(vu) }
    }

    /// Counts an answer in its pod and ends the connection where the app would.
    fn turn_over(&mut self, vu: u32, answer: Answer, counter: Option<u32>, took: Nanos) {
        let (Some(load), Some(web)) = (&mut self.load, self.web) else { return };
        let entry = &mut load.vus[vu as usize];
        if entry.connection == NONE {
            return;
        }
        let process = &mut self.pods[entry.connection as usize].process;
        if let Some(counter) = counter {
            process.count(counter, 1.0);
            if self.monitoring.histograms {
                process.durations.observe(took);
            }
        }
        let last = entry.served >= web.settings.requests_per_connection || process.draining;
        let saturated = process.in_flight() > web.settings.concurrency;
        if last || saturated || matches!(answer, Answer::Refused | Answer::None) {
            entry.connection = NONE;
        }
    }

    /// A VU's last iteration is cut off with the request that it waits for.
    pub(super) fn overdue(&mut self, vu: u32, epoch: u32) {
        let now = self.now;
        let Some(load) = &mut self.load else { return };
        let entry = &mut load.vus[vu as usize];
        if entry.epoch != epoch || entry.place == Place::Idle || entry.finish_by > now {
            return;
        }
        let (place, pod) = (entry.place, std::mem::replace(&mut entry.connection, NONE));
        entry.epoch += 1;
        entry.place = Place::Idle;
        entry.poll_until = 0;
        load.interrupted += 1;
        load.busy -= 1;
        match place {
            Place::Waiting => self.pods[pod as usize].process.waiting.retain(|other| *other != vu),
            Place::Executing => self.free(pod),
            Place::Idle | Place::Pausing | Place::Stuck => {}
        }
        self.end_load_when_idle();
    }

    /// All requests in a pod that is gone get no answer.
    pub(super) fn lose_requests(&mut self, pod: u32) {
        let Some(load) = &mut self.load else { return };
        let hit = |vu: &Vu| vu.connection == pod && matches!(vu.place, Place::Waiting | Place::Executing);
        let lost: Vec<u32> = (0..load.vus.len() as u32).filter(|vu| hit(&load.vus[*vu as usize])).collect();
        for vu in lost {
            if let Some(load) = &mut self.load {
                load.vus[vu as usize].epoch += 1;
            }
            self.answer(vu, Answer::None);
        }
    }

    fn end_load_when_idle(&mut self) {
        let now = self.now;
        let Some(load) = self.load.take_if(|load| load.over && load.busy == 0) else { return };
        let mut load = load;
        load.turn(now);
        let (begun, tests) = (load.begun, self.tests.clone());
        let result = load.result(tests[self.results.len()], now - begun);
        self.test_ended(result);
    }
}
