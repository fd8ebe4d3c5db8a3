//! The demo app in a pod: bounded concurrency and queue of web, batches of worker, the store that both share.
//!
//! The rules are those of `democtl-app`: a request beyond concurrency and queue is answered 503 at once; a connection
//! ends after a 503, after so many requests, while others wait, and when its pod drains.

use std::{collections::VecDeque, time::Duration};

use super::{
    World,
    agenda::{Happening, NEVER, Nanos, nanos},
    cluster::Phase,
};
use crate::{
    app::{BUCKETS, HEARTBEAT_TTL, MEMORY_PER_REQUEST},
    profile::Worker,
};

/// How often a worker without messages looks for some.
const IDLE: Nanos = 50_000_000;
/// What a batch takes beyond its write: the claim, the answers of the store.
pub(crate) const BATCH_HANDLING: Duration = Duration::from_millis(3);
/// How long the app waits for the store.
pub(super) const STORE_TIMEOUT: Nanos = 5_000_000_000;

/// A histogram as the app exposes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    pub(super) counts: [u64; BUCKETS.len()],
    pub(super) count: u64,
    pub(super) sum_s: f64,
}

impl Buckets {
    pub(super) fn observe(&mut self, took: Nanos) {
        let seconds = took as f64 / 1e9;
        self.count += 1;
        self.sum_s += seconds;
        if let Some(bucket) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
    }

    /// Cumulated counts, that of all last.
    pub(super) fn cumulated(&self) -> impl Iterator<Item = u64> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        sums.chain([self.count])
    }
}

/// What a pod's process holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Process {
    /// It accepts connections, or looks for messages.
    pub(super) up: bool,
    /// It was told to end.
    pub(super) draining: bool,
    /// Requests that execute.
    pub(super) executing: u32,
    /// VUs whose requests wait.
    pub(super) waiting: VecDeque<u32>,
    /// Requests that the flow of traffic keeps in it, beside those above.
    pub(super) flowing: f64,
    /// Those of them that execute.
    pub(super) flowing_executing: f64,
    /// CPU time so far.
    pub(super) cpu_s: f64,
    /// Answers by counter.
    pub(super) answers: Vec<f64>,
    /// Times to answer, and times in the queue.
    pub(super) durations: Buckets,
    /// See above.
    pub(super) waits: Buckets,
    /// Messages of the batch at hand.
    pub(super) batch: Vec<u32>,
    /// Customers stored.
    pub(super) processed: f64,
    /// Which batch is at hand.
    pub(super) epoch: u32,
    /// It waits for messages.
    pub(super) idle: bool,
}

impl Process {
    /// Executing and waiting.
    pub(super) fn in_flight(&self) -> u32 {
        self.executing + self.waiting.len() as u32
    }

    /// As the app's gauge shows it.
    pub(super) fn gauge(&self) -> f64 {
        f64::from(self.in_flight()) + self.flowing
    }

    /// Memory as the app models it, bytes.
    pub(super) fn memory(&self, base: i64) -> i64 {
        base + (self.gauge() * f64::from(MEMORY_PER_REQUEST)) as i64
    }

    pub(super) fn count(&mut self, counter: u32, by: f64) {
        let index = counter as usize;
        if self.answers.len() <= index {
            self.answers.resize(index + 1, 0.0);
        }
        self.answers[index] += by;
    }
}

/// Redis: the queue and the customers.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Messages that nobody has claimed, oldest first.
    pub(super) queue: VecDeque<u32>,
    /// Messages that workers hold.
    pub(super) claimed: usize,
    /// Whether a message has been stored.
    pub(super) stored: Vec<bool>,
    /// Customers stored.
    pub(super) processed: u64,
    /// Messages that were lost with the store.
    pub(super) lost: u64,
    /// It does not answer until then.
    pub(super) paused_until: Nanos,
    /// Workers that wait for messages.
    pub(super) idle: Vec<u32>,
    /// Messages that flow in a rate rather than one by one.
    pub(super) backlog: f64,
}

impl Store {
    /// Messages that are not stored yet.
    pub(super) fn open(&self) -> usize {
        self.queue.len() + self.claimed + self.backlog as usize
    }

    /// Length of the list, as LLEN tells it.
    pub(super) fn length(&self) -> f64 {
        self.queue.len() as f64 + self.backlog.floor()
    }
}

/// Seconds from one claim of a busy worker to the next.
pub(super) fn batch_s(worker: &Worker) -> f64 {
    (worker.batch_time + BATCH_HANDLING).as_secs_f64()
}

impl World<'_> {
    /// Whether the store answers.
    pub(super) fn store_is_up(&self) -> bool {
        self.store.paused_until <= self.now && self.redis_is_up()
    }

    /// A write reaches the store; its number.
    pub(super) fn put(&mut self, queued: bool) -> u32 {
        let message = self.store.stored.len() as u32;
        self.store.stored.push(!queued);
        if queued {
            self.store.queue.push_back(message);
            self.wake_workers();
        } else {
            self.store.processed += 1;
        }
        message
    }

    /// Those that wait look again at their next turn, every 50 ms since they began to.
    pub(super) fn wake_workers(&mut self) {
        for pod in std::mem::take(&mut self.store.idle) {
            let phase = u64::from(pod).wrapping_mul(17_000_000) % IDLE;
            let turns = (self.now.saturating_sub(phase)) / IDLE + 1;
            self.agenda.plan(phase + turns * IDLE, Happening::Claim { pod });
        }
    }

    /// The settings of the worker that a pod is.
    fn worker_of(&self, pod: u32) -> Option<&Worker> {
        self.workloads[self.pods[pod as usize].workload].worker.as_ref()
    }

    /// A worker claims up to a batch, or waits.
    pub(super) fn claim(&mut self, pod: u32) {
        let Some(worker) = self.worker_of(pod) else { return };
        let (most, takes) = (worker.batch as usize, nanos(worker.batch_time + BATCH_HANDLING));
        let process = &mut self.pods[pod as usize].process;
        if !process.up || !process.batch.is_empty() {
            return;
        }
        if process.draining {
            return self.exit(pod);
        }
        if !self.store_is_up() {
            let again = self.now + IDLE * 2;
            return self.agenda.plan(again, Happening::Claim { pod });
        }
        let process = &mut self.pods[pod as usize].process;
        let claimed = self.store.queue.len().min(most);
        if claimed == 0 {
            process.idle = true;
            return self.store.idle.push(pod);
        }
        process.idle = false;
        process.batch.extend(self.store.queue.drain(..claimed));
        self.store.claimed += claimed;
        let epoch = process.epoch;
        self.agenda.plan(self.now + takes, Happening::Stored { pod, epoch });
    }

    /// A worker has written its batch.
    pub(super) fn stored(&mut self, pod: u32, epoch: u32) {
        if self.pods[pod as usize].process.epoch != epoch {
            return;
        }
        if !self.store_is_up() {
            let again = self.now + IDLE * 2;
            return self.agenda.plan(again, Happening::Stored { pod, epoch });
        }
        let cpu_s = self.worker_of(pod).map_or(0.0, |worker| worker.cpu_per_message.as_secs_f64());
        let process = &mut self.pods[pod as usize].process;
        for message in process.batch.drain(..) {
            self.store.stored[message as usize] = true;
            process.processed += 1.0;
            process.cpu_s += cpu_s;
            self.store.claimed -= 1;
            self.store.processed += 1;
        }
        process.epoch += 1;
        self.claim(pod);
    }

    /// A pod's process begins its work.
    pub(super) fn serve(&mut self, pod: u32) {
        let entry = &mut self.pods[pod as usize];
        if entry.phase != Phase::Running || entry.deleting {
            return;
        }
        entry.process.up = true;
        if self.workloads[entry.workload].worker.is_some() {
            self.claim(pod);
        }
    }

    /// SIGTERM: what is at hand is finished, then the process ends.
    pub(super) fn terminate(&mut self, pod: u32) {
        let process = &mut self.pods[pod as usize].process;
        process.draining = true;
        if process.idle {
            self.store.idle.retain(|other| *other != pod);
        }
        if process.in_flight() == 0 && process.batch.is_empty() {
            self.exit(pod);
        }
    }

    /// SIGKILL, or the machine is gone: what is at hand is lost to those who wait for it.
    pub(super) fn kill(&mut self, pod: u32) {
        let process = &mut self.pods[pod as usize].process;
        process.up = false;
        process.draining = true;
        process.executing = 0;
        process.waiting.clear();
        process.epoch += 1;
        self.store.idle.retain(|other| *other != pod);
        if !self.pods[pod as usize].process.batch.is_empty() {
            self.agenda.plan(self.now + nanos(HEARTBEAT_TTL), Happening::Reclaimed { pod });
        }
        self.lose_requests(pod);
    }

    /// The claims of a dead worker go back to where they are taken next.
    pub(super) fn reclaim(&mut self, pod: u32) {
        let batch = std::mem::take(&mut self.pods[pod as usize].process.batch);
        self.store.claimed -= batch.len().min(self.store.claimed);
        for message in batch.into_iter().rev() {
            self.store.queue.push_front(message);
        }
        self.wake_workers();
    }

    /// Redis keeps everything in memory: what it held is gone with it.
    pub(super) fn lose_store(&mut self) {
        self.store.lost += self.store.queue.len() as u64;
        self.store.queue.clear();
        self.store.backlog = 0.0;
    }

    /// The store stopped or began to answer: readiness follows at its own pace.
    pub(super) fn store_changed(&mut self) {
        let Some(web) = self.web else { return };
        let probe = self.profile.workloads[web.workload].probes.readiness;
        let failures = if self.store_is_up() { 1 } else { probe.failure_threshold };
        let at = self.now + self.real(probe.period * failures);
        self.agenda.plan(at.min(NEVER - 1), Happening::Fault { index: u32::MAX, part: 0 });
    }
}
