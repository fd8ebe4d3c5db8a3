//! Time series in memory: labels, samples, bounded retention, selection by matchers.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use promql_parser::label::{METRIC_NAME, Matcher};

/// The bits of Prometheus's stale marker: <https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness>.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// A series keeps at most this many samples, whatever the retention.
const MOST_SAMPLES: usize = 4096;

/// A series's labels, sorted, its name among them as `__name__`.
pub type Labels = BTreeMap<String, String>;

/// One sample: Unix milliseconds and value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Unix time in milliseconds.
    pub at: i64,
    /// The value; a series ends with a stale marker.
    pub value: f64,
}

/// One series with its newest samples.
#[derive(Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    samples: VecDeque<Sample>,
}

/// All series.
#[derive(Debug)]
pub struct Storage {
    series: Vec<Series>,
    index: BTreeMap<Labels, usize>,
    retention: i64,
}

/// Whether a value is the marker that ends a series.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

impl Storage {
    /// Keeps samples for `retention` of real time.
    pub fn new(retention: Duration) -> Self {
        Self { series: Vec::new(), index: BTreeMap::new(), retention: retention.as_millis() as i64 }
    }

    /// Adds a sample; one that is not newer than the series's last is dropped.
    pub fn append(&mut self, labels: &Labels, sample: Sample) {
        let position = if let Some(position) = self.index.get(labels) {
            *position
        } else {
            self.series.push(Series { labels: labels.clone(), samples: VecDeque::new() });
            self.index.insert(labels.clone(), self.series.len() - 1);
            self.series.len() - 1
        };
        let samples = &mut self.series[position].samples;
        if samples.back().is_some_and(|last| last.at >= sample.at) {
            return;
        }
        samples.push_back(sample);
        while samples.len() > MOST_SAMPLES || samples.front().is_some_and(|first| first.at < sample.at - self.retention)
        {
            samples.pop_front();
        }
    }

    /// Ends a series: instant queries no longer see it.
    pub fn end(&mut self, labels: &Labels, at: i64) {
        if self.index.contains_key(labels) {
            self.append(labels, Sample { at, value: f64::from_bits(STALE) });
        }
    }

    /// Forgets series that have had no sample within the retention.
    pub fn forget(&mut self, now: i64) {
        let oldest = now - self.retention;
        let before = self.series.len();
        self.series.retain(|series| series.samples.back().is_some_and(|last| last.at >= oldest));
        if self.series.len() != before {
            self.index = self.series.iter().enumerate().map(|(at, series)| (series.labels.clone(), at)).collect();
        }
    }

    /// The series that all matchers of one of the alternatives accept.
    pub fn select<'a>(&'a self, alternatives: &'a [Vec<&'a Matcher>]) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |series| alternatives.iter().any(|all| series.is_matched(all)))
    }

    /// Every series.
    pub fn all(&self) -> &[Series] {
        &self.series
    }
}

impl Series {
    fn is_matched(&self, matchers: &[&Matcher]) -> bool {
        matchers.iter().all(|matcher| matcher.is_match(self.labels.get(&matcher.name).map_or("", String::as_str)))
    }

    /// The samples of `(after, until]` that are not stale markers.
    pub fn range(&self, after: i64, until: i64) -> Vec<Sample> {
        let start = self.samples.partition_point(|sample| sample.at <= after);
        let end = self.samples.partition_point(|sample| sample.at <= until);
        self.samples.range(start..end.max(start)).filter(|sample| !is_stale(sample.value)).copied().collect()
    }

    /// The newest sample of `(after, until]`, unless the series had ended by then.
    pub fn latest(&self, after: i64, until: i64) -> Option<Sample> {
        let end = self.samples.partition_point(|sample| sample.at <= until);
        let sample = *self.samples.get(end.checked_sub(1)?)?;
        (sample.at > after && !is_stale(sample.value)).then_some(sample)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.labels.get(METRIC_NAME).map_or("", String::as_str)
    }
}

/// A value as Prometheus writes it.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Reads a value that Prometheus wrote.
///
/// # Errors
/// What is wrong with it.
pub fn number(text: &str) -> Result<f64, &'static str> {
    match text {
        "+Inf" | "Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        text => text.parse().map_err(|_| "value is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from([(METRIC_NAME.to_owned(), name.to_owned())])
    }

    #[test]
    fn ranges_are_open_on_the_left_and_stale_series_end() {
        let mut storage = Storage::new(Duration::from_secs(3600));
        for at in [0, 1000, 2000] {
            storage.append(&labels("a"), Sample { at, value: at as f64 });
        }
        let series = &storage.all()[0];
        let times = |after, until| series.range(after, until).iter().map(|sample| sample.at).collect::<Vec<_>>();
        assert_eq!(times(0, 2000), [1000, 2000]);
        assert_eq!(times(-1, 1999), [0, 1000]);
        assert_eq!(series.latest(0, 1500).map(|sample| sample.at), Some(1000));
        assert_eq!(series.latest(1000, 1500), None);
        storage.end(&labels("a"), 2500);
        assert_eq!(storage.all()[0].latest(0, 3000), None);
        assert_eq!(storage.all()[0].range(0, 3000).len(), 2);
    }

    #[test]
    fn retention_bounds_samples_and_series() {
        let mut storage = Storage::new(Duration::from_secs(10));
        for second in 0..100 {
            storage.append(&labels("a"), Sample { at: second * 1000, value: 1.0 });
        }
        assert_eq!(storage.all()[0].samples.len(), 11);
        storage.append(&labels("b"), Sample { at: 200_000, value: 1.0 });
        storage.forget(200_000);
        assert_eq!(storage.all().iter().map(Series::name).collect::<Vec<_>>(), ["b"]);
        storage.append(&labels("b"), Sample { at: 201_000, value: 2.0 });
        assert_eq!(storage.all()[0].samples.len(), 2, "the index was kept right");
    }
}
