//! A virtual user: repeats the journey while it is active.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use democtl_core::{
    draws::Pauses,
    suite::{Request, Step},
};
use tokio::{sync::watch, time::Instant as Deadline};

use crate::{
    client::{Answer, Client},
    figures::Recorder,
};

/// What a VU is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Wait.
    Idle,
    /// Iterate.
    Run,
    /// Finish the iteration at hand, until the deadline at most.
    Finish(Deadline),
}

/// Makes a VU iterate.
pub(crate) fn start(control: &watch::Sender<Phase>) {
    control.send_replace(Phase::Run);
}

/// Lets a VU finish its iteration; one that was told so before keeps its earlier deadline.
pub(crate) fn finish(control: &watch::Sender<Phase>, last: Deadline) {
    control.send_if_modified(|phase| {
        let later = matches!(phase, Phase::Finish(earlier) if *earlier <= last);
        if !later {
            *phase = Phase::Finish(last);
        }
        !later
    });
}

pub(crate) struct Vu {
    pub(crate) number: u32,
    pub(crate) journey: Arc<Vec<Step>>,
    pub(crate) client: Client,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) sequence: Arc<AtomicU64>,
    pub(crate) pauses: Pauses,
}

impl Vu {
    /// Iterates as it is told, until the other end of the control is gone and the last iteration has ended.
    pub(crate) async fn run(mut self, mut control: watch::Receiver<Phase>) {
        let recorder = Arc::clone(&self.recorder);
        for iteration in 0.. {
            if control.wait_for(|phase| *phase == Phase::Run).await.is_err() {
                return;
            }
            let begun = Instant::now();
            tokio::select! {
                () = self.iterate(iteration) => recorder.iteration(begun.elapsed()),
                () = overdue(control.clone()) => {
                    recorder.interrupted();
                    // Whatever was under way on this connection is not waited for.
                    self.client = self.client.renewed();
                }
            }
        }
    }

    async fn iterate(&mut self, iteration: u64) {
        let journey = Arc::clone(&self.journey);
        let mut location = None;
        for (index, step) in journey.iter().enumerate() {
            match step {
                Step::Request(request) => {
                    let answer = self.request(index, request, iteration).await;
                    location = answer.location;
                }
                Step::Think { min, max } => {
                    tokio::time::sleep(self.pauses.next(*min, *max)).await;
                }
                Step::PollUntil { field, equals, interval, timeout, .. } => {
                    let held = match &location {
                        Some(path) => self.poll(index, path, (field, equals), *interval, *timeout).await,
                        None => false,
                    };
                    self.recorder.check(held);
                }
            }
        }
    }

    async fn request(&mut self, step: usize, request: &Request, iteration: u64) -> Answer {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let fill = |text: &str| fill(text, self.number, iteration, sequence);
        let path = fill(&request.path);
        let body = request.body.as_deref().map(|body| Bytes::from(fill(body)));
        let method = request.method.parse().unwrap_or(http::Method::GET);
        let answer = self.client.send(&method, &path, body).await;
        let expected = answer.status.is_some_and(|status| {
            let code = status.as_u16();
            if request.expect.is_empty() { (200..400).contains(&code) } else { request.expect.contains(&code) }
        });
        self.recorder.request(step, answer.took, !expected);
        self.recorder.check(expected);
        answer
    }

    /// Asks again and again until the answer's field is as wanted; every try is a request that counts.
    async fn poll(
        &mut self,
        step: usize,
        path: &str,
        (field, equals): (&str, &str),
        interval: Duration,
        timeout: Duration,
    ) -> bool {
        let last = Instant::now() + timeout;
        loop {
            let answer = self.client.send(&http::Method::GET, path, None).await;
            let good = answer.status.is_some_and(|status| status.is_success() || status.is_redirection());
            self.recorder.request(step, answer.took, !good);
            let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
            if good && body.is_some_and(|body| body.get(field).and_then(|value| value.as_str()) == Some(equals)) {
                return true;
            }
            if Instant::now() + interval > last {
                return false;
            }
            tokio::time::sleep(interval).await;
        }
    }
}

/// Resolves when the iteration at hand has taken longer than it may.
async fn overdue(mut control: watch::Receiver<Phase>) {
    loop {
        let phase = *control.borrow_and_update();
        match phase {
            Phase::Finish(last) => {
                tokio::select! {
                    () = tokio::time::sleep_until(last) => return,
                    changed = control.changed() => if changed.is_err() {
                        return tokio::time::sleep_until(last).await;
                    },
                }
            }
            _ => {
                if control.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn fill(text: &str, vu: u32, iteration: u64, sequence: u64) -> String {
    if !text.contains("${") {
        return text.to_owned();
    }
    text.replace("${vu}", &vu.to_string())
        .replace("${iter}", &iteration.to_string())
        .replace("${seq}", &sequence.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        assert_eq!(fill("c-${vu}-${iter}-${seq}", 3, 4, 5), "c-3-4-5");
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_is_kept() {
        let (control, _state) = watch::channel(Phase::Run);
        let now = Deadline::now();
        finish(&control, now + Duration::from_secs(1));
        finish(&control, now + Duration::from_secs(9));
        assert_eq!(*control.borrow(), Phase::Finish(now + Duration::from_secs(1)));
    }
}
