//! Batches of the workers, and the CPU of a message.

use std::time::Duration;

use super::{Fit, Seen, web::cpu_readings};
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
        let changes = track.changes(&workload.name);
        let still = !changes.iter().any(|(at_s, _)| *at_s > from.at_s && *at_s <= until.at_s);
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

/// CPU over messages, over the whole run.
fn cpu(recording: &Recording<'_>, track: &Track<'_>, workload: &Workload) -> Seen {
    let readings = cpu_readings(recording, track, &workload.name);
    let samples = samples(recording);
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Seen::nothing("the recording has no samples of the queue");
    };
    if readings.is_empty() {
        return Seen::nothing("the recording has no CPU of its pods");
    }
    let stored = last.processed.saturating_sub(first.processed);
    let cpu_s: f64 = readings.windows(2).map(|pair| pair[1].1 * (pair[1].0 - pair[0].0) / track.speed).sum();
    if stored == 0 {
        return Seen::nothing("no message was stored");
    }
    let basis = format!("CPU of the whole run over {stored} messages");
    Seen { value: Some(Duration::from_secs_f64(cpu_s / stored as f64)), samples: readings.len() as u64, basis }
}
