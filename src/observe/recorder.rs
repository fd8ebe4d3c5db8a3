//! Numbers, stamps, writes and passes on the events of a run.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use democtl_core::{
    event::{Event, EventId, Fact},
    timeline::{Causes, Moment},
};
use tokio::sync::broadcast;

/// The one writer of a run's timeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    speed: f64,
    sender: broadcast::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Option<BufWriter<File>>,
    last: EventId,
    causes: Causes,
    moment: Moment,
}

impl Recorder {
    /// A recorder that starts now and writes into `events.jsonl` of `dir`, or nowhere.
    pub fn new(dir: Option<&Path>, speed: f64) -> std::io::Result<Self> {
        let file = dir.map(|dir| File::create(dir.join("events.jsonl")).map(BufWriter::new)).transpose()?;
        let state = State { file, last: 0, causes: Causes::default(), moment: Moment::default() };
        let sender = broadcast::Sender::new(4096);
        Ok(Self { shared: Arc::new(Shared { origin: Instant::now(), speed, sender, state: Mutex::new(state) }) })
    }

    /// Records a fact now.
    pub fn record(&self, fact: Fact) {
        let at_s = self.at_s();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last += 1;
        let id = state.last;
        let cause = state.causes.of(id, &fact);
        state.moment.take(at_s, &fact);
        let event = Event { id, at_s, time: chrono::Utc::now().to_rfc3339(), cause, fact };
        if let Some(file) = &mut state.file {
            // A full disk must not stop the run; the summary is written apart and its failure is told.
            let _ = serde_json::to_writer(&mut *file, &event).map_err(std::io::Error::from).and_then(|()| {
                file.write_all(b"\n")?;
                file.flush()
            });
        }
        // Nobody may be listening.
        let _ = self.shared.sender.send(event);
    }

    /// Seconds since the recorder started, profile time.
    pub fn at_s(&self) -> f64 {
        self.shared.origin.elapsed().as_secs_f64() * self.shared.speed
    }

    /// All events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.sender.subscribe()
    }

    /// Where the run stands.
    pub fn moment(&self) -> Moment {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        Moment { at_s: self.at_s(), ..state.moment.clone() }
    }
}
