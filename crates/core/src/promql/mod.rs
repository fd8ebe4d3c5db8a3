//! `PromQL`: evaluates what `promql-parser` has parsed against the series in memory.
//!
//! Follows Prometheus 3: ranges are open on the left, `rate` extrapolates, matching and aggregation as documented in
//! <https://prometheus.io/docs/prometheus/latest/querying/>. Durations of a query (`[2m]`, `offset`, the lookback) are
//! profile time and are divided by the speed of the cluster or forecast: at speed 10 `[2m]` looks at 12 s of samples. Values, and so
//! rates, stay per REAL second, because requests are served in real time.

mod aggregate;
mod binary;
mod functions;
mod histogram;
mod range;
pub mod series;

use std::time::{Duration, UNIX_EPOCH};

use promql_parser::{
    label::{METRIC_NAME, Matcher},
    parser::{AtModifier, Expr, MatrixSelector, Offset, SubqueryExpr, VectorSelector},
};

use series::{Labels, Sample, Storage};

/// How old a sample may be to count as a series's present value, profile time.
const LOOKBACK: Duration = Duration::from_secs(300);
/// Step of a subquery that names none, profile time (Prometheus: the global evaluation interval).
const SUBQUERY_STEP: Duration = Duration::from_secs(15);
/// A query may not ask for more points than this.
pub const MOST_POINTS: i64 = 11_000;

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It does not parse (`bad_data`).
    #[error("parse error: {0}")]
    Parse(String),
    /// It parses, but this evaluator lacks the function or operator (`execution`).
    #[error("{0} is not supported by the embedded Prometheus")]
    Unsupported(String),
    /// It cannot be evaluated on this data (`execution`).
    #[error("{0}")]
    Execution(String),
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// One series of a range vector, with its window in Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its labels.
    pub labels: Labels,
    /// Its samples within the window.
    pub samples: Vec<Sample>,
    /// The window's start (exclusive).
    pub start: i64,
    /// The window's end (inclusive).
    pub end: i64,
}

/// A query's result.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A string literal.
    Text(String),
    /// Elements at one time.
    Vector(Vec<Element>),
    /// Series of samples.
    Matrix(Vec<Window>),
}

/// Parses a query.
pub fn parse(query: &str) -> Result<Expr, QueryError> {
    promql_parser::parser::parse(query).map_err(QueryError::Parse)
}

/// Evaluates expressions at one time.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The series.
    pub storage: &'a Storage,
    /// Evaluation time, Unix milliseconds.
    pub at: i64,
    /// First and last time of the whole query, for `@ start()` and `@ end()`.
    pub bounds: (i64, i64),
    /// How much faster than real time profile time runs.
    pub speed: f64,
}

impl<'a> Evaluator<'a> {
    /// For an instant query.
    pub fn new(storage: &'a Storage, at: i64, speed: f64) -> Self {
        Self { storage, at, bounds: (at, at), speed }
    }

    /// Evaluates an expression.
    pub fn eval(&self, expr: &Expr) -> Result<Answer, QueryError> {
        match expr {
            Expr::NumberLiteral(number) => Ok(Answer::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Answer::Text(text.val.clone())),
            Expr::Paren(paren) => self.eval(&paren.expr),
            Expr::VectorSelector(selector) => Ok(Answer::Vector(self.instant(selector))),
            Expr::MatrixSelector(selector) => Ok(Answer::Matrix(self.windows(selector))),
            Expr::Subquery(subquery) => self.subquery(subquery).map(Answer::Matrix),
            Expr::Call(call) => functions::call(self, call),
            Expr::Aggregate(aggregate) => aggregate::aggregate(self, aggregate).map(Answer::Vector),
            Expr::Binary(binary) => binary::binary(self, binary),
            Expr::Unary(unary) => match self.eval(&unary.expr)? {
                Answer::Scalar(value) => Ok(Answer::Scalar(-value)),
                Answer::Vector(elements) => Ok(Answer::Vector(map(elements, |value| -value))),
                Answer::Text(_) | Answer::Matrix(_) => Err(wrong_type("unary minus", "scalar or vector")),
            },
            Expr::Extension(_) => Err(QueryError::Unsupported("an extension".to_owned())),
        }
    }

    /// The expression's value as a vector.
    fn vector(&self, expr: &Expr) -> Result<Vec<Element>, QueryError> {
        match self.eval(expr)? {
            Answer::Vector(elements) => Ok(elements),
            _ => Err(wrong_type(&expr.to_string(), "instant vector")),
        }
    }

    /// The expression's value as a range vector.
    fn matrix(&self, expr: &Expr) -> Result<Vec<Window>, QueryError> {
        match self.eval(expr)? {
            Answer::Matrix(windows) => Ok(windows),
            _ => Err(wrong_type(&expr.to_string(), "range vector")),
        }
    }

    /// The expression's value as a number.
    fn scalar(&self, expr: &Expr) -> Result<f64, QueryError> {
        match self.eval(expr)? {
            Answer::Scalar(value) => Ok(value),
            _ => Err(wrong_type(&expr.to_string(), "scalar")),
        }
    }

    /// The expression's value as a string.
    fn text(&self, expr: &Expr) -> Result<String, QueryError> {
        match self.eval(expr)? {
            Answer::Text(text) => Ok(text),
            _ => Err(wrong_type(&expr.to_string(), "string")),
        }
    }

    /// A profile duration in real milliseconds.
    fn real(&self, profile: Duration) -> i64 {
        (profile.as_secs_f64() * 1000.0 / self.speed).round() as i64
    }

    /// The time that a selector looks at.
    fn time_of(&self, at: Option<&AtModifier>, offset: Option<&Offset>) -> i64 {
        let base = match at {
            None => self.at,
            Some(AtModifier::Start) => self.bounds.0,
            Some(AtModifier::End) => self.bounds.1,
            Some(AtModifier::At(time)) => match time.duration_since(UNIX_EPOCH) {
                Ok(after) => after.as_millis() as i64,
                Err(before) => -(before.duration().as_millis() as i64),
            },
        };
        match offset {
            None => base,
            Some(Offset::Pos(by)) => base - self.real(*by),
            Some(Offset::Neg(by)) => base + self.real(*by),
        }
    }

    fn instant(&self, selector: &VectorSelector) -> Vec<Element> {
        let at = self.time_of(selector.at.as_ref(), selector.offset.as_ref());
        let after = at - self.real(LOOKBACK);
        let name = name_matcher(selector);
        let alternatives = alternatives(selector, name.as_ref());
        let series = self.storage.select(&alternatives);
        series
            .filter_map(|series| {
                Some(Element { labels: series.labels.clone(), value: series.latest(after, at)?.value })
            })
            .collect()
    }

    fn windows(&self, selector: &MatrixSelector) -> Vec<Window> {
        let end = self.time_of(selector.vs.at.as_ref(), selector.vs.offset.as_ref());
        let start = end - self.real(selector.range);
        let name = name_matcher(&selector.vs);
        let alternatives = alternatives(&selector.vs, name.as_ref());
        let windows = self.storage.select(&alternatives).map(|series| Window {
            labels: series.labels.clone(),
            samples: series.range(start, end),
            start,
            end,
        });
        windows.filter(|window| !window.samples.is_empty()).collect()
    }

    fn subquery(&self, subquery: &SubqueryExpr) -> Result<Vec<Window>, QueryError> {
        let end = self.time_of(subquery.at.as_ref(), subquery.offset.as_ref());
        let start = end - self.real(subquery.range);
        let step = self.real(subquery.step.unwrap_or(SUBQUERY_STEP)).max(1);
        if (end - start) / step > MOST_POINTS {
            return Err(QueryError::Execution(format!("subquery exceeds {MOST_POINTS} points per series")));
        }
        // Steps are multiples of the step, whatever the evaluation time, and the window is open on the left.
        let first = start.div_euclid(step) * step + step;
        self.series(&subquery.expr, (first, end, step)).map(|mut windows| {
            for window in &mut windows {
                (window.start, window.end) = (start, end);
            }
            windows
        })
    }

    /// Evaluates at every step of `(first, last, step)` and joins the results into series.
    pub fn series(&self, expr: &Expr, (first, last, step): (i64, i64, i64)) -> Result<Vec<Window>, QueryError> {
        let mut joined: std::collections::BTreeMap<Labels, Vec<Sample>> = std::collections::BTreeMap::new();
        let mut at = first;
        while at <= last {
            let elements = match (Self { at, ..*self }).eval(expr)? {
                Answer::Vector(elements) => elements,
                Answer::Scalar(value) => vec![Element { labels: Labels::new(), value }],
                Answer::Text(_) | Answer::Matrix(_) => return Err(wrong_type(&expr.to_string(), "scalar or vector")),
            };
            for element in elements {
                joined.entry(element.labels).or_default().push(Sample { at, value: element.value });
            }
            at += step;
        }
        Ok(joined.into_iter().map(|(labels, samples)| Window { labels, samples, start: first, end: last }).collect())
    }
}

/// The matcher of a selector's name, which the parser keeps apart.
fn name_matcher(selector: &VectorSelector) -> Option<Matcher> {
    let name = selector.name.as_deref()?;
    Some(Matcher::new(promql_parser::label::MatchOp::Equal, METRIC_NAME, name))
}

fn alternatives<'m>(selector: &'m VectorSelector, name: Option<&'m Matcher>) -> Vec<Vec<&'m Matcher>> {
    let matchers = &selector.matchers;
    if matchers.or_matchers.is_empty() {
        return vec![name.into_iter().chain(&matchers.matchers).collect()];
    }
    matchers.or_matchers.iter().map(|all| name.into_iter().chain(all).collect()).collect()
}

/// Applies a function to every value; the result has no name.
fn map(elements: Vec<Element>, function: impl Fn(f64) -> f64) -> Vec<Element> {
    let rename = |element: Element| Element { labels: nameless(element.labels), value: function(element.value) };
    elements.into_iter().map(rename).collect()
}

/// The labels without the metric's name.
fn nameless(mut labels: Labels) -> Labels {
    labels.remove(METRIC_NAME);
    labels
}

fn wrong_type(what: &str, wanted: &str) -> QueryError {
    QueryError::Execution(format!("expected type {wanted} of {what}"))
}

#[cfg(test)]
mod tests;
