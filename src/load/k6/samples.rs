//! k6's samples as CSV: one row for each metric of each request
//! (<https://grafana.com/docs/k6/latest/results-output/real-time/csv/>).

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use democtl_core::verdict::Second;
use democtl_loadgen::{Plan, Progress, Tally};

/// What was taken from the rows so far.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) total: Tally,
    /// By index in the journey; those of thinking stay empty.
    pub(super) steps: Vec<Tally>,
    /// By second of the wall clock: rows of different VUs come out of order.
    seconds: BTreeMap<u64, (u32, Tally)>,
    vus: u32,
    pub(super) vus_max: u32,
    told: (u64, Duration),
    rps: f64,
}

impl Samples {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            total: Tally::new(3),
            steps: (0..steps).map(|_| Tally::new(3)).collect(),
            seconds: BTreeMap::new(),
            vus: 0,
            vus_max: 0,
            told: (0, Duration::ZERO),
            rps: 0.0,
        }
    }

    fn take(&mut self, sample: &Sample<'_>) -> Option<()> {
        let second: u64 = sample.timestamp.parse().ok()?;
        let value: f64 = sample.value.parse().ok()?;
        let vus = self.vus;
        let (active, tally) = self.seconds.entry(second).or_insert_with(|| (vus, Tally::new(2)));
        if sample.metric == "vus" {
            self.vus = value as u32;
            self.vus_max = self.vus_max.max(self.vus);
            *active = self.vus;
            return Some(());
        }
        let took = Duration::try_from_secs_f64(value / 1000.0).ok()?;
        let failed = match sample.expected {
            "true" => false,
            "false" => true,
            _ => return None,
        };
        let step = sample.tags.split('&').find_map(|tag| tag.strip_prefix("step="))?;
        self.steps.get_mut(step.parse::<usize>().ok()?)?.record(took, failed);
        self.total.record(took, failed);
        tally.record(took, failed);
        Some(())
    }

    pub(super) fn seconds(&self) -> Vec<Second> {
        let first = self.seconds.keys().next().copied().unwrap_or(0);
        self.seconds.iter().map(|(at, (vus, tally))| tally.second((at - first) as u32, *vus)).collect()
    }

    pub(super) fn progress(&mut self, plan: &Plan, elapsed: Duration) -> Progress {
        let (before, at) = self.told;
        let passed = elapsed.saturating_sub(at).as_secs_f64();
        if passed >= 1.0 {
            self.rps = (self.total.requests() - before) as f64 / passed;
            self.told = (self.total.requests(), elapsed);
        }
        Progress {
            elapsed,
            vus: self.vus,
            rps: self.rps,
            failed_rate: self.total.failed_rate(),
            p95_ms: self.total.percentile_ms(95.0),
            stage: plan.stage_at(elapsed),
        }
    }
}

/// The columns of a row that matter here.
struct Sample<'a> {
    metric: &'a str,
    timestamp: &'a str,
    value: &'a str,
    expected: &'a str,
    tags: &'a str,
}

/// Where these columns are.
struct Columns([usize; 5]);

impl Columns {
    fn read(header: &str) -> Option<Self> {
        let names: Vec<_> = header.split(',').collect();
        let wanted = ["metric_name", "timestamp", "metric_value", "expected_response", "extra_tags"];
        let mut found = [0; 5];
        for (place, name) in found.iter_mut().zip(wanted) {
            *place = names.iter().position(|column| *column == name)?;
        }
        Some(Self(found))
    }

    /// No value here holds a comma or a quote: tags are numbers, metrics are k6's own.
    fn sample<'a>(&self, row: &'a str) -> Option<Sample<'a>> {
        let fields: Vec<_> = row.split(',').collect();
        let [metric, timestamp, value, expected, tags] = self.0;
        Some(Sample {
            metric: fields.get(metric)?,
            timestamp: fields.get(timestamp)?,
            value: fields.get(value)?,
            expected: fields.get(expected)?,
            tags: fields.get(tags)?,
        })
    }
}

/// Reads rows until the end.
pub(super) fn read(rows: impl BufRead, into: &Mutex<Samples>) -> io::Result<()> {
    let mut columns: Option<Columns> = None;
    for row in rows.lines() {
        let row = row?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{row:?} is not {what}"));
        let Some(columns) = &columns else {
            columns = Some(Columns::read(&row).ok_or_else(|| wrong("the header of k6's samples"))?);
            continue;
        };
        let sample = columns.sample(&row).ok_or_else(|| wrong("a sample of k6"))?;
        if matches!(sample.metric, "http_req_duration" | "vus") {
            let mut samples = into.lock().unwrap_or_else(PoisonError::into_inner);
            samples.take(&sample).ok_or_else(|| wrong("a sample of k6"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "metric_name,timestamp,metric_value,expected_response,extra_tags,metadata\n";

    fn taken(rows: &str) -> io::Result<Samples> {
        let samples = Mutex::new(Samples::new(2));
        read(format!("{HEADER}{rows}").as_bytes(), &samples)?;
        Ok(samples.into_inner().expect("not poisoned"))
    }

    #[test]
    fn rows_out_of_order_fall_into_their_seconds() {
        let samples = taken(
            "http_req_duration,101,20.0,true,step=0,\nhttp_req_blocked,101,1.0,true,step=0,\n\
             http_req_duration,100,10.0,false,step=1,\nvus,101,7.000000,,,\n",
        )
        .expect("sound rows");
        let seconds: Vec<_> = samples.seconds().iter().map(|s| (s.at_s, s.vus, s.requests, s.failed)).collect();
        assert_eq!(seconds, [(0, 0, 1, 1), (1, 7, 1, 0)]);
        assert_eq!((samples.total.requests(), samples.steps[0].requests(), samples.vus_max), (2, 1, 7));
    }

    #[test]
    fn what_is_not_a_sample_is_an_error() {
        let rows = [
            "nonsense\n",
            "http_req_duration,x,1,true,step=0,\n",
            "http_req_duration,1,-1,true,step=0,\n",
            "http_req_duration,1,1,maybe,step=0,\n",
            "http_req_duration,1,1,true,step=2,\n",
            "http_req_duration,1,1,true,,\n",
        ];
        for row in rows {
            let error = taken(row).expect_err(row);
            assert_eq!(error.to_string(), format!("{:?} is not a sample of k6", row.trim_end()));
        }
    }
}
