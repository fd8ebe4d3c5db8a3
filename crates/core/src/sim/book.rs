//! The timeline of a forecast: facts with their causes, recorded as a real run's are.

use std::time::Duration;

use crate::{
    event::{Event, EventId, Fact},
    timeline::{Causes, Moment},
};

/// Numbers facts and keeps them.
#[derive(Debug, Default)]
pub(super) struct Book {
    events: Vec<Event>,
    last: EventId,
    causes: Causes,
    moment: Moment,
}

impl Book {
    /// Records a fact at a profile time since the run began; what comes before the run is the state that it finds.
    pub(super) fn record(&mut self, at_s: f64, fact: Fact) {
        self.last += 1;
        let cause = self.causes.of(self.last, &fact);
        self.moment.take(at_s, &fact);
        self.events.push(Event { id: self.last, at_s, time: stamp(at_s), cause, fact });
    }

    /// Where the run stands.
    pub(super) fn moment(&self) -> &Moment {
        &self.moment
    }

    /// The run begins: greatest numbers and changes count from here.
    pub(super) fn begin(&mut self) {
        self.moment.peak = self.moment.now.clone();
        self.moment.scaling_events = 0;
    }

    /// All events and the last moment.
    pub(super) fn close(self, at_s: f64) -> (Vec<Event>, Moment) {
        (self.events, Moment { at_s, ..self.moment })
    }
}

/// There is no wall clock here: the run begins at the Unix epoch.
fn stamp(at_s: f64) -> String {
    let since = Duration::try_from_secs_f64(at_s.max(0.0)).unwrap_or_default();
    let time = chrono::DateTime::from_timestamp(since.as_secs() as i64, since.subsec_nanos()).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
