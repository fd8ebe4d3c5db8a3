//! `histogram_quantile` over classic buckets, as `bucketQuantile` of
//! <https://github.com/prometheus/prometheus/blob/main/promql/quantile.go>.

use std::collections::BTreeMap;

use promql_parser::label::METRIC_NAME;

use super::{Element, Labels, series::number};

/// Label of a bucket's upper bound.
const BOUND: &str = "le";

/// The quantile of every histogram among the buckets.
pub(super) fn histogram_quantile(q: f64, buckets: Vec<Element>) -> Vec<Element> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for mut bucket in buckets {
        let Some(bound) = bucket.labels.remove(BOUND).and_then(|bound| number(&bound).ok()) else { continue };
        bucket.labels.remove(METRIC_NAME);
        histograms.entry(bucket.labels).or_default().push((bound, bucket.value));
    }
    let quantiles = histograms.into_iter().map(|(labels, buckets)| Element { labels, value: quantile(q, buckets) });
    quantiles.collect()
}

fn quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|later, kept| {
        let same = later.0.total_cmp(&kept.0).is_eq();
        if same {
            kept.1 += later.1;
        }
        same
    });
    if buckets.last().is_none_or(|last| !last.0.is_infinite()) || buckets.len() < 2 {
        return f64::NAN;
    }
    // Counts may shrink between scrapes of different buckets: make them monotonic.
    let mut highest = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        highest = highest.max(bucket.1);
        bucket.1 = highest;
    }
    let observations = buckets[buckets.len() - 1].1;
    if observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let at = buckets[..buckets.len() - 1].partition_point(|bucket| bucket.1 < rank);
    if at == buckets.len() - 1 {
        return buckets[buckets.len() - 2].0;
    }
    if at == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (end, mut count) = buckets[at];
    let mut start = 0.0;
    if at > 0 {
        start = buckets[at - 1].0;
        count -= buckets[at - 1].1;
        rank -= buckets[at - 1].1;
    }
    start + (end - start) * (rank / count)
}
