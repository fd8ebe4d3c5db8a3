//! Functions: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.

use promql_parser::{
    label::{METRIC_NAME, MatchOp},
    parser::{Call, Expr},
};
use regex::Regex;

use super::{
    Answer, Element, Evaluator, Labels, QueryError, Window,
    histogram::histogram_quantile,
    map, name_matcher, nameless,
    range::{self, Change, extrapolated, instant_change, slope},
};

/// Evaluates a function call.
pub(super) fn call(evaluator: &Evaluator<'_>, call: &Call) -> Result<Answer, QueryError> {
    let args = &call.args.args;
    let arg = |index: usize| -> Result<&Expr, QueryError> {
        args.get(index)
            .map(AsRef::as_ref)
            .ok_or_else(|| QueryError::Execution(format!("{} needs more arguments", call.func.name)))
    };
    let scalar = |index: usize| evaluator.scalar(arg(index)?);
    let vector = |index: usize| evaluator.vector(arg(index)?);
    let windows = |index: usize| evaluator.matrix(arg(index)?);
    let answer = match call.func.name {
        "rate" => over(windows(0)?, |window| extrapolated(window, Change::Rate)),
        "increase" => over(windows(0)?, |window| extrapolated(window, Change::Increase)),
        "delta" => over(windows(0)?, |window| extrapolated(window, Change::Delta)),
        "irate" => over(windows(0)?, |window| instant_change(&window.samples, true)),
        "idelta" => over(windows(0)?, |window| instant_change(&window.samples, false)),
        "deriv" => over(windows(0)?, |window| slope(&window.samples)),
        "quantile_over_time" => {
            let q = scalar(0)?;
            over(windows(1)?, |window| {
                let mut values: Vec<f64> = window.samples.iter().map(|sample| sample.value).collect();
                Some(range::quantile(q, &mut values))
            })
        }
        "absent_over_time" => absent(arg(0)?, windows(0)?.is_empty()),
        "last_over_time" => windows(0)?
            .into_iter()
            .filter_map(|window| Some(Element { value: window.samples.last()?.value, labels: window.labels }))
            .collect(),
        "time" => return Ok(Answer::Scalar(evaluator.at as f64 / 1000.0)),
        "pi" => return Ok(Answer::Scalar(std::f64::consts::PI)),
        "scalar" => {
            let elements = vector(0)?;
            return Ok(Answer::Scalar(if let [only] = elements.as_slice() { only.value } else { f64::NAN }));
        }
        "vector" => vec![Element { labels: Labels::new(), value: scalar(0)? }],
        "absent" => absent(arg(0)?, vector(0)?.is_empty()),
        "timestamp" => timestamps(evaluator, arg(0)?)?,
        "sort" | "sort_desc" => sorted(vector(0)?, call.func.name == "sort_desc"),
        "clamp" => clamp(vector(0)?, scalar(1)?, scalar(2)?),
        "clamp_min" => clamp(vector(0)?, scalar(1)?, f64::INFINITY),
        "clamp_max" => clamp(vector(0)?, f64::NEG_INFINITY, scalar(1)?),
        "round" => {
            let to = if args.len() > 1 { scalar(1)? } else { 1.0 };
            // Halves are rounded up, as Prometheus does it.
            map(vector(0)?, |value| (value / to + 0.5).floor() * to)
        }
        "histogram_quantile" => histogram_quantile(scalar(0)?, vector(1)?),
        "label_replace" => label_replace(evaluator, args)?,
        "label_join" => label_join(evaluator, args)?,
        name if name.ends_with("_over_time") || matches!(name, "changes" | "resets") => {
            if range::over_time(name, &[super::Sample { at: 0, value: 0.0 }]).is_none() {
                return Err(QueryError::Unsupported(format!("function {name}")));
            }
            over(windows(0)?, |window| range::over_time(name, &window.samples))
        }
        name => match simple(name) {
            Some(function) => map(vector(0)?, function),
            None => return Err(QueryError::Unsupported(format!("function {name}"))),
        },
    };
    Ok(Answer::Vector(answer))
}

/// Functions of one value.
fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sqrt" => f64::sqrt,
        "sgn" => |value| if value == 0.0 { value } else { value.signum() },
        _ => return None,
    })
}

fn over(windows: Vec<Window>, function: impl Fn(&Window) -> Option<f64>) -> Vec<Element> {
    let value = |window: Window| Some(Element { value: function(&window)?, labels: nameless(window.labels) });
    windows.into_iter().filter_map(value).collect()
}

fn clamp(elements: Vec<Element>, least: f64, most: f64) -> Vec<Element> {
    if least > most {
        return Vec::new();
    }
    map(elements, |value| value.max(least).min(most))
}

fn sorted(mut elements: Vec<Element>, descending: bool) -> Vec<Element> {
    elements.sort_by(|a, b| a.value.total_cmp(&b.value));
    if descending {
        elements.reverse();
    }
    elements
}

/// One element with the labels that the selector fixes by equality, when there is nothing.
fn absent(expr: &Expr, is_empty: bool) -> Vec<Element> {
    if !is_empty {
        return Vec::new();
    }
    let selector = match expr {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(selector) => Some(&selector.vs),
        _ => None,
    };
    let matchers = selector.into_iter().flat_map(|selector| &selector.matchers.matchers);
    let mut labels = Labels::new();
    let mut repeated = Vec::new();
    for matcher in matchers.filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !labels.contains_key(&matcher.name) {
            labels.insert(matcher.name.clone(), matcher.value.clone());
        } else {
            repeated.push(matcher.name.clone());
        }
    }
    labels.retain(|name, _| !repeated.contains(name));
    vec![Element { labels, value: 1.0 }]
}

/// `timestamp`: of the samples when applied to a selector, of the evaluation otherwise.
fn timestamps(evaluator: &Evaluator<'_>, expr: &Expr) -> Result<Vec<Element>, QueryError> {
    let Expr::VectorSelector(selector) = expr else {
        return Ok(map(evaluator.vector(expr)?, |_| evaluator.at as f64 / 1000.0));
    };
    let at = evaluator.time_of(selector.at.as_ref(), selector.offset.as_ref());
    let after = at - evaluator.real(super::LOOKBACK);
    let name = name_matcher(selector);
    let alternatives = super::alternatives(selector, name.as_ref());
    let latest = evaluator.storage.select(&alternatives).filter_map(|series| {
        let sample = series.latest(after, at)?;
        Some(Element { labels: nameless(series.labels.clone()), value: sample.at as f64 / 1000.0 })
    });
    Ok(latest.collect())
}

fn label_replace(evaluator: &Evaluator<'_>, args: &[Box<Expr>]) -> Result<Vec<Element>, QueryError> {
    let [vector, target, replacement, source, pattern] = args else {
        return Err(QueryError::Execution("label_replace needs five arguments".to_owned()));
    };
    let text = |expr: &Expr| evaluator.text(expr);
    let (target, replacement, source, pattern) = (text(target)?, text(replacement)?, text(source)?, text(pattern)?);
    let pattern = Regex::new(&format!("^(?s:{pattern})$"))
        .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
    let mut elements = evaluator.vector(vector)?;
    for element in &mut elements {
        let value = element.labels.get(&source).cloned().unwrap_or_default();
        let Some(captures) = pattern.captures(&value) else { continue };
        let mut expanded = String::new();
        captures.expand(&replacement, &mut expanded);
        set_label(&mut element.labels, &target, expanded);
    }
    Ok(elements)
}

fn label_join(evaluator: &Evaluator<'_>, args: &[Box<Expr>]) -> Result<Vec<Element>, QueryError> {
    let [vector, target, separator, sources @ ..] = args else {
        return Err(QueryError::Execution("label_join needs three arguments or more".to_owned()));
    };
    let (target, separator) = (evaluator.text(target)?, evaluator.text(separator)?);
    let sources: Vec<String> = sources.iter().map(|source| evaluator.text(source)).collect::<Result<_, _>>()?;
    let mut elements = evaluator.vector(vector)?;
    for element in &mut elements {
        let values = sources.iter().map(|name| element.labels.get(name).map_or("", String::as_str));
        let joined = values.collect::<Vec<_>>().join(&separator);
        set_label(&mut element.labels, &target, joined);
    }
    Ok(elements)
}

/// An empty value is no label.
fn set_label(labels: &mut Labels, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}
