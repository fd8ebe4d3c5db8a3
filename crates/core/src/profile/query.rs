//! Checks a trigger's PromQL: that it parses, that KEDA can use its result, and that the app exposes what it asks for.
//!
//! KEDA takes exactly one element of an instant vector
//! (<https://keda.sh/docs/2.21/scalers/prometheus/>): a scalar, a range or many series are errors at run time.

use promql_parser::{
    parser::{self, Expr, value::ValueType},
    util::{ExprVisitor, walk_expr},
};

use crate::suggest;

/// Metrics that the demo app exposes, with the suffixes of its histograms.
pub const EXPOSED_METRICS: [&str; 15] = [
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_sum",
    "http_request_duration_seconds_count",
    "http_requests_in_flight",
    "http_requests_executing",
    "queue_wait_seconds_bucket",
    "queue_wait_seconds_sum",
    "queue_wait_seconds_count",
    "customers_processed_total",
    "app_cpu_seconds_total",
    "app_memory_bytes",
    "queue_depth",
    "up",
    "scrape_duration_seconds",
];

/// Functions that every target's metrics server evaluates; the embedded one knows no more.
const FUNCTIONS: [&str; 38] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "quantile_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "histogram_quantile",
    "clamp_min",
    "clamp_max",
    "clamp",
    "abs",
    "ceil",
    "floor",
    "round",
    "scalar",
    "vector",
    "sqrt",
    "exp",
    "ln",
    "time",
    "timestamp",
    "sgn",
    "absent",
    "label_replace",
    "label_join",
];

/// What is wrong with a query.
pub(super) struct QueryProblem {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Everything that is wrong with `query`.
pub(super) fn check(query: &str) -> Vec<QueryProblem> {
    let expr = match parser::parse(query) {
        Ok(expr) => expr,
        Err(error) => {
            let hint = "PromQL, such as sum(rate(http_requests_total[2m]))".to_owned();
            return vec![QueryProblem { message: format!("the query cannot be parsed: {error}"), hint }];
        }
    };
    let mut names = Names::default();
    let walked = walk_expr(&mut names, &expr);
    debug_assert!(walked.is_ok(), "visiting names cannot fail");
    let mut problems = names.problems;
    match expr.value_type() {
        ValueType::Vector if !is_single(&expr) => problems.push(QueryProblem {
            message: "the query may give several series, KEDA takes exactly one".into(),
            hint: format!("aggregate it: sum({query})"),
        }),
        ValueType::Vector => {}
        other => problems.push(QueryProblem {
            message: format!("the query gives a {other}, KEDA takes an instant vector of one element"),
            hint: if other == ValueType::Matrix {
                format!("take a rate of it: sum(rate({query}))")
            } else {
                String::new()
            },
        }),
    }
    problems
}

/// The first metric that a query names.
pub(super) fn first_metric(query: &str) -> Option<String> {
    let mut names = Names::default();
    walk_expr(&mut names, &parser::parse(query).ok()?).ok()?;
    names.first
}

/// Whether an expression gives at most one element by its form alone.
fn is_single(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(aggregate) => {
            let selects = matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk" | "count_values" | "limitk");
            !selects && aggregate.modifier.as_ref().is_none_or(|m| m.is_include() && m.labels().is_empty())
        }
        Expr::Paren(paren) => is_single(&paren.expr),
        Expr::Subquery(subquery) => is_single(&subquery.expr),
        Expr::Unary(unary) => is_single(&unary.expr),
        Expr::NumberLiteral(_) => true,
        Expr::Binary(binary) => is_single(&binary.lhs) && is_single(&binary.rhs),
        Expr::Call(call) if call.func.name == "histogram_quantile" => {
            call.args.args.get(1).is_some_and(|arg| match arg.as_ref() {
                Expr::Aggregate(inner) => inner
                    .modifier
                    .as_ref()
                    .is_some_and(|m| m.is_include() && m.labels().labels.iter().all(|label| label == "le")),
                _ => false,
            })
        }
        Expr::Call(call) if matches!(call.func.name, "vector" | "scalar" | "time" | "absent") => true,
        Expr::Call(call) => {
            let is_series = |kind: ValueType| matches!(kind, ValueType::Vector | ValueType::Matrix);
            let mut vectors = call.args.args.iter().filter(|arg| is_series(arg.value_type())).peekable();
            vectors.peek().is_some() && vectors.all(|arg| is_single(arg))
        }
        _ => false,
    }
}

/// The first metric named in a query, and the metrics and functions that nobody knows.
#[derive(Default)]
struct Names {
    first: Option<String>,
    problems: Vec<QueryProblem>,
}

impl Names {
    fn metric(&mut self, name: Option<&str>) {
        let Some(name) = name else {
            let message = "the query selects by labels without a metric name".into();
            return self.problems.push(QueryProblem { message, hint: "name the metric".into() });
        };
        self.first.get_or_insert_with(|| name.to_owned());
        if !EXPOSED_METRICS.contains(&name) {
            let hint = suggest::hint(name, EXPOSED_METRICS).unwrap_or_default();
            self.problems.push(QueryProblem { message: format!("nothing exposes the metric `{name}`"), hint });
        }
    }
}

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.metric(selector.name.as_deref()),
            Expr::MatrixSelector(selector) => self.metric(selector.vs.name.as_deref()),
            Expr::Call(call) if !FUNCTIONS.contains(&call.func.name) => {
                let message = format!("the function `{}` is not evaluated by every target", call.func.name);
                let hint = suggest::hint(call.func.name, FUNCTIONS).unwrap_or_default();
                self.problems.push(QueryProblem { message, hint });
            }
            _ => {}
        }
        Ok(true)
    }
}
