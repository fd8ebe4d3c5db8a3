//! Functions over range vectors: `rate` and its kin, `*_over_time`.
//!
//! The extrapolation is `extrapolatedRate` of <https://github.com/prometheus/prometheus/blob/main/promql/functions.go>.

use super::{Sample, Window};

/// Share of the average distance between samples up to which a gap at the window's edge is bridged.
const EXTRAPOLATION: f64 = 1.1;

/// What of the counter or gauge is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Rate,
    Increase,
    Delta,
}

/// `rate`, `increase` (counters) and `delta` (gauges) over one window; none with fewer than two samples.
pub(super) fn extrapolated(window: &Window, change: Change) -> Option<f64> {
    let samples = &window.samples;
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < 2 {
        return None;
    }
    let is_counter = change != Change::Delta;
    let mut result = last.value - first.value;
    if is_counter {
        let resets = samples.windows(2).filter(|pair| pair[1].value < pair[0].value);
        result += resets.map(|pair| pair[0].value).sum::<f64>();
    }
    let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
    let covered = seconds(last.at - first.at);
    let average = covered / (samples.len() - 1) as f64;
    let mut to_start = seconds(first.at - window.start);
    let mut to_end = seconds(window.end - last.at);
    if to_start >= average * EXTRAPOLATION {
        to_start = average / 2.0;
    }
    if is_counter && result > 0.0 && first.value >= 0.0 {
        // A counter cannot have been below zero before the window.
        to_start = to_start.min(covered * (first.value / result));
    }
    if to_end >= average * EXTRAPOLATION {
        to_end = average / 2.0;
    }
    let mut factor = (covered + to_start + to_end) / covered;
    if change == Change::Rate {
        factor /= seconds(window.end - window.start);
    }
    Some(result * factor)
}

/// `irate` (per second) and `idelta`: the last two samples.
pub(super) fn instant_change(samples: &[Sample], is_rate: bool) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let interval = (last.at - before.at) as f64 / 1000.0;
    if interval == 0.0 {
        return None;
    }
    if !is_rate {
        return Some(last.value - before.value);
    }
    let result = if last.value < before.value { last.value } else { last.value - before.value };
    Some(result / interval)
}

/// `deriv`: slope by least squares, per second.
pub(super) fn slope(samples: &[Sample]) -> Option<f64> {
    if samples.len() < 2 {
        return None;
    }
    let origin = samples[0].at;
    let points = samples.iter().map(|sample| ((sample.at - origin) as f64 / 1000.0, sample.value));
    let (mut n, mut sum_x, mut sum_y, mut products, mut squares) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points {
        n += 1.0;
        sum_x += x;
        sum_y += y;
        products += x * y;
        squares += x * x;
    }
    Some((products - sum_x * sum_y / n) / (squares - sum_x * sum_x / n))
}

/// `<name>_over_time` and the other functions of one window's samples, which are never empty.
pub(super) fn over_time(name: &str, samples: &[Sample]) -> Option<f64> {
    let values = || samples.iter().map(|sample| sample.value);
    let count = samples.len() as f64;
    let mean = || values().sum::<f64>() / count;
    let variance = || values().map(|value| (value - mean()).powi(2)).sum::<f64>() / count;
    Some(match name {
        "avg_over_time" => mean(),
        "sum_over_time" => values().sum(),
        "count_over_time" => count,
        "min_over_time" => values().fold(f64::NAN, f64::min),
        "max_over_time" => values().fold(f64::NAN, f64::max),
        "last_over_time" => samples.last()?.value,
        "present_over_time" => 1.0,
        "stdvar_over_time" => variance(),
        "stddev_over_time" => variance().sqrt(),
        "changes" => {
            samples.windows(2).filter(|pair| pair[0].value.to_bits() != pair[1].value.to_bits()).count() as f64
        }
        "resets" => samples.windows(2).filter(|pair| pair[1].value < pair[0].value).count() as f64,
        _ => return None,
    })
}

/// The quantile of values, interpolated as Prometheus does it.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let rank = q * (values.len() - 1) as f64;
    let (lower, upper) = (rank.floor() as usize, (rank.floor() as usize + 1).min(values.len() - 1));
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}
