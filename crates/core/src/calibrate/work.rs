//! Batches of the workers, and the CPU of a message.

use std::time::Duration;

use super::{
    Fit, Seen,
    web::{CPU_WINDOW_S, cpu_readings},
};
use crate::{
    event::Fact,
    explain::{Recording, track::Track},
    profile::{Role, Worker, Workload},
    sim::BATCH_HANDLING,
};

/// With so many messages per batch in the queue no worker waits for any.
const BACKLOG: f64 = 1.5;
/// Fewer batches than this say nothing: a sample counts whole ones only.
const LEAST_BATCHES: f64 = 20.0;

pub(super) fn fits(recording: &Recording<'_>, track: &Track<'_>) -> Vec<Fit> {
    let worker = recording.profile.workloads.iter().find_map(|workload| match &workload.role {
        Role::Worker(worker) => Some((workload, worker)),
        _ => None,
    });
    let Some((workload, worker)) = worker else { return Vec::new() };
    let path = |key: &str| format!("workload.{}.{key}", workload.name);
    let batch = batch(recording, track, workload, worker);
    let cpu = cpu(recording, track, workload);
    vec![
        Fit::of(path("batch_time"), worker.batch_time, batch),
        Fit::of(path("cpu_per_message"), worker.cpu_per_message, cpu),
    ]
}

/// A sample of the queue.
struct Sample {
    at_s: f64,
    queue: u64,
    processed: u64,
}

fn samples(recording: &Recording<'_>) -> Vec<Sample> {
    let sample = recording.events.iter().filter_map(|event| match event.fact {
        Fact::Sample { queue: Some(queue), processed: Some(processed), .. } => {
            Some(Sample { at_s: event.at_s, queue, processed })
        }
        _ => None,
    });
    sample.collect()
}

/// Time of a batch while the same workers had more messages than they could claim.
fn batch(recording: &Recording<'_>, track: &Track<'_>, workload: &Workload, worker: &Worker) -> Seen {
    let (mut messages, mut worker_s) = (0.0, 0.0);
    for pair in samples(recording).windows(2) {
        let [from, until] = pair else { continue };
        let ready = track.pods(&workload.name, from.at_s).ready;
        let still = track.stands_still(&workload.name, from.at_s, until.at_s);
        let enough = BACKLOG * f64::from(ready) * f64::from(worker.batch);
        if ready > 0 && still && from.queue.min(until.queue) as f64 > enough {
            messages += until.processed.saturating_sub(from.processed) as f64;
            worker_s += f64::from(ready) * (until.at_s - from.at_s) / track.speed;
        }
    }
    let batches = messages / f64::from(worker.batch);
    if batches < LEAST_BATCHES {
        return Seen::nothing("the queue never held so much that all workers were busy for long");
    }
    let time = Duration::from_secs_f64(worker_s / batches);
    let basis = "batches while the queue was full".to_owned();
    Seen { value: Some(time.saturating_sub(BATCH_HANDLING)), samples: batches as u64, basis }
}

/// CPU over messages, while the pods stood still.
fn cpu(recording: &Recording<'_>, track: &Track<'_>, workload: &Workload) -> Seen {
    let readings = cpu_readings(recording, track, &workload.name);
    if readings.is_empty() {
        return Seen::nothing("the recording has no CPU of its pods");
    }
    let processed = samples(recording);
    let (mut cpu_s, mut messages, mut count) = (0.0, 0.0, 0);
    for (at_s, cpus) in readings {
        let from_s = at_s - CPU_WINDOW_S;
        let stored = stored_by(&processed, at_s) - stored_by(&processed, from_s);
        if stored > 0.0 && track.stands_still(&workload.name, from_s - CPU_WINDOW_S, at_s) {
            cpu_s += cpus * CPU_WINDOW_S / track.speed;
            messages += stored;
            count += 1;
        }
    }
    if count == 0 {
        return Seen::nothing("nothing was stored while the number of pods was steady");
    }
    let basis = format!("CPU over {messages:.0} messages while the pods stood still");
    Seen { value: Some(Duration::from_secs_f64(cpu_s / messages)), samples: count, basis }
}

/// Messages stored until a moment, by the samples around it.
fn stored_by(samples: &[Sample], at_s: f64) -> f64 {
    let after = samples.partition_point(|sample| sample.at_s <= at_s);
    let value = |index: usize| samples.get(index).map_or(0.0, |sample| sample.processed as f64);
    match (after.checked_sub(1), samples.get(after)) {
        (None, _) => value(0),
        (Some(before), None) => value(before),
        (Some(before), Some(next)) => {
            let from = &samples[before];
            let share = (at_s - from.at_s) / (next.at_s - from.at_s);
            value(before) + share * (value(after) - value(before))
        }
    }
}
