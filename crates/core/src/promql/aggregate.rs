//! Aggregation operators: <https://prometheus.io/docs/prometheus/latest/querying/operators/#aggregation-operators>.

use std::collections::BTreeMap;

use promql_parser::{
    label::METRIC_NAME,
    parser::{AggregateExpr, LabelModifier},
};

use super::{Element, Evaluator, Labels, QueryError, range::quantile};

/// Evaluates an aggregation.
pub(super) fn aggregate(evaluator: &Evaluator<'_>, aggregate: &AggregateExpr) -> Result<Vec<Element>, QueryError> {
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for element in evaluator.vector(&aggregate.expr)? {
        groups.entry(group(&element.labels, aggregate.modifier.as_ref())).or_default().push(element);
    }
    let operator = aggregate.op.to_string();
    match operator.as_str() {
        "topk" | "bottomk" => {
            let k = number(evaluator, aggregate)?;
            let k = if k >= 1.0 { k as usize } else { 0 };
            Ok(groups.into_values().flat_map(|elements| ranked(elements, k, operator == "topk")).collect())
        }
        "quantile" => {
            let q = number(evaluator, aggregate)?;
            Ok(reduce(groups, |values| quantile(q, values)))
        }
        "count_values" => {
            let label = match &aggregate.param {
                Some(param) => evaluator.text(param)?,
                None => return Err(QueryError::Execution("count_values needs a label".to_owned())),
            };
            Ok(count_values(groups, &label))
        }
        "sum" => Ok(reduce(groups, |values| values.iter().sum())),
        "avg" => Ok(reduce(groups, |values| values.iter().sum::<f64>() / values.len() as f64)),
        "count" => Ok(reduce(groups, |values| values.len() as f64)),
        "group" => Ok(reduce(groups, |_| 1.0)),
        "min" => Ok(reduce(groups, |values| values.iter().copied().fold(f64::NAN, f64::min))),
        "max" => Ok(reduce(groups, |values| values.iter().copied().fold(f64::NAN, f64::max))),
        "stdvar" => Ok(reduce(groups, |values| variance(values))),
        "stddev" => Ok(reduce(groups, |values| variance(values).sqrt())),
        _ => Err(QueryError::Unsupported(format!("aggregation {operator}"))),
    }
}

/// The labels that tell an element's group.
fn group(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    match modifier {
        None => Labels::new(),
        Some(LabelModifier::Include(by)) => {
            labels.iter().filter(|(name, _)| by.labels.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
        }
        Some(LabelModifier::Exclude(without)) => labels
            .iter()
            .filter(|(name, _)| *name != METRIC_NAME && !without.labels.contains(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect(),
    }
}

fn reduce(groups: BTreeMap<Labels, Vec<Element>>, function: impl Fn(&mut [f64]) -> f64) -> Vec<Element> {
    let reduced = groups.into_iter().map(|(labels, elements)| {
        let mut values: Vec<f64> = elements.iter().map(|element| element.value).collect();
        Element { labels, value: function(&mut values) }
    });
    reduced.collect()
}

fn ranked(mut elements: Vec<Element>, k: usize, largest: bool) -> Vec<Element> {
    // NaN comes last either way.
    elements.sort_by(|a, b| {
        let order = if largest { b.value.partial_cmp(&a.value) } else { a.value.partial_cmp(&b.value) };
        order.unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
    });
    elements.truncate(k);
    elements
}

fn count_values(groups: BTreeMap<Labels, Vec<Element>>, label: &str) -> Vec<Element> {
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, elements) in groups {
        for element in elements {
            let mut labels = labels.clone();
            labels.insert(label.to_owned(), super::series::text(element.value));
            *counts.entry(labels).or_default() += 1.0;
        }
    }
    counts.into_iter().map(|(labels, value)| Element { labels, value }).collect()
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

fn number(evaluator: &Evaluator<'_>, aggregate: &AggregateExpr) -> Result<f64, QueryError> {
    match &aggregate.param {
        Some(param) => evaluator.scalar(param),
        None => Err(QueryError::Execution(format!("{} needs a parameter", aggregate.op))),
    }
}
