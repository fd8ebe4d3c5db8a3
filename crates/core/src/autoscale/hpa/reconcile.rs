//! One whole reconcile: scale, metrics, stabilisation, limits, rescale, status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    behavior::{Limit, clamp, clamp_legacy, default_rules, stabilize, stabilize_legacy, store_scale_event},
    calculator::{Calculator, MetricError, Proposal},
    model::{Behavior, Direction, Metric, Observed, Pod, Recommendation, Rules, ScaleEvent, Target},
};

/// The controller's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Tolerance of both directions.
    pub tolerance: f64,
    /// Whether a rule's own tolerance counts (feature gate).
    pub configurable_tolerance: bool,
    /// Window of scaling down where no behaviour tells another.
    pub downscale_stabilization_window_s: f64,
    /// See [`Calculator`].
    pub cpu_initialization_period_s: f64,
    /// See [`Calculator`].
    pub initial_readiness_delay_s: f64,
    /// Greatest factor of one step up without behaviour.
    pub scale_up_limit_factor: f64,
    /// What one step up may reach in any case, without behaviour.
    pub scale_up_limit_minimum: f64,
}

impl Default for Config {
    /// Production's settings.
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            configurable_tolerance: false,
            downscale_stabilization_window_s: 300.0,
            cpu_initialization_period_s: 300.0,
            initial_readiness_delay_s: 30.0,
            scale_up_limit_factor: 2.0,
            scale_up_limit_minimum: 4.0,
        }
    }
}

/// The target's scale subresource.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Wanted replicas.
    pub spec_replicas: i32,
    /// Existing replicas.
    pub status_replicas: i32,
    /// Whether the selector can be used; the error's reason and text otherwise.
    pub selector: Result<(), (&'static str, String)>,
}

/// What a reconcile looks at.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// Namespace of the autoscaler.
    pub namespace: &'a str,
    /// `KIND/NAMESPACE/NAME` of the target, for messages.
    pub reference: &'a str,
    /// Least replicas; none means 1.
    pub min_replicas: Option<i32>,
    /// Most replicas.
    pub max_replicas: i32,
    /// Behaviour as stored, that is with defaults.
    pub behavior: Option<&'a Behavior>,
    /// Metrics with what their APIs answered.
    pub metrics: &'a [(Metric, Observed)],
    /// Pods of the target.
    pub pods: &'a [Pod],
    /// The scale, or why it cannot be had.
    pub scale: Result<Scale, String>,
    /// Why an update of the scale would fail.
    pub scale_update_error: Option<&'a str>,
}

/// What the controller remembers of one autoscaler between reconciles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Recommendations; none before the first reconcile.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Changes up.
    pub scale_up_events: Vec<ScaleEvent>,
    /// Changes down.
    pub scale_down_events: Vec<ScaleEvent>,
}

/// A condition of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Type.
    pub kind: &'static str,
    /// `True` or `False`.
    pub status: bool,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
}

/// The status that reconciles read and write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Replicas before the last rescale.
    pub current_replicas: i32,
    /// Replicas wanted.
    pub desired_replicas: i32,
    /// One entry for each metric; blank where it failed.
    pub current_metrics: Vec<Option<CurrentMetric>>,
    /// Conditions in list order.
    pub conditions: Vec<Condition>,
    /// When the scale was last changed.
    pub last_scale_time_s: Option<f64>,
}

/// A metric's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentMetric {
    /// Percent of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_utilization_percent: Option<i64>,
    /// Per pod, milli-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_value_milli: Option<i64>,
    /// In all, milli-units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_milli: Option<i64>,
}

/// An Event to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// Reason.
    pub reason: &'static str,
    /// Message.
    pub message: String,
}

/// Label of what was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    None,
    /// More replicas.
    ScaleUp,
    /// Fewer.
    ScaleDown,
}

/// Label of what failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing.
    #[default]
    None,
    /// The autoscaler's own specification.
    Spec,
    /// Anything else.
    Internal,
}

/// What one metric came to.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricOutcome {
    /// The proposal, or the reason of the failure and its text.
    pub proposal: Result<i32, (&'static str, String)>,
    /// Label.
    pub action: Action,
    /// Label.
    pub error: ErrorKind,
}

/// What a reconcile decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Replicas to write to the scale.
    pub scale_to: Option<i32>,
    /// The status after.
    pub status: Status,
    /// Events.
    pub events: Vec<Emitted>,
    /// What the reconcile fails with.
    pub error: Option<String>,
    /// Each metric.
    pub per_metric: Vec<MetricOutcome>,
    /// Label.
    pub action: Action,
    /// Label.
    pub error_kind: ErrorKind,
    /// The metric that asked for most, in words.
    pub deciding_metric: String,
}

/// Reconciles once. `before` is the stored status; `state` is updated.
pub fn reconcile(config: &Config, input: &Input<'_>, before: &Status, state: &mut State, now: f64) -> Outcome {
    let mut run = Run { config, input, state, now, outcome: Outcome { status: before.clone(), ..Outcome::default() } };
    let scale = match &input.scale {
        Ok(scale) => scale,
        Err(error) => {
            run.event(true, "FailedGetScale", error.clone());
            let message = format!("the HPA controller was unable to get the target's current scale: {error}");
            run.condition("AbleToScale", false, "FailedGetScale", message);
            run.fail(format!("failed to query scale subresource for {}: {error}", input.reference));
            return run.outcome;
        }
    };
    let message = "the HPA controller was able to get the target's current scale";
    run.condition("AbleToScale", true, "SucceededGetScale", message);
    let current = scale.spec_replicas;
    run.state.recommendations.get_or_insert_with(|| vec![Recommendation { replicas: current, at_s: now }]);
    let min = input.min_replicas.unwrap_or(1);
    let wanted = if current == 0 && min != 0 {
        let message = "scaling is disabled since the replica count of the target is zero";
        run.condition("ScalingActive", false, "ScalingDisabled", message);
        run.outcome.status.current_metrics.clear();
        (0, String::new(), false)
    } else if current > input.max_replicas {
        run.outcome.status.current_metrics.clear();
        (input.max_replicas, "Current number of replicas above Spec.MaxReplicas".to_owned(), true)
    } else if current < min {
        run.outcome.status.current_metrics.clear();
        (min, "Current number of replicas below Spec.MinReplicas".to_owned(), true)
    } else {
        match run.desired_by_metrics(scale, min) {
            Some((desired, reason)) => (desired, reason, desired != current),
            None => return run.outcome,
        }
    };
    run.rescale(current, wanted);
    run.outcome
}

struct Run<'a> {
    config: &'a Config,
    input: &'a Input<'a>,
    state: &'a mut State,
    now: f64,
    outcome: Outcome,
}

impl Run<'_> {
    fn event(&mut self, warning: bool, reason: &'static str, message: String) {
        self.outcome.events.push(Emitted { warning, reason, message });
    }

    /// Replaces a condition in place, or appends it.
    fn condition(&mut self, kind: &'static str, status: bool, reason: &str, message: impl Into<String>) {
        let new = Condition { kind, status, reason: reason.to_owned(), message: message.into() };
        let conditions = &mut self.outcome.status.conditions;
        match conditions.iter_mut().find(|condition| condition.kind == kind) {
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    }

    fn fail(&mut self, error: String) {
        self.outcome.error = Some(error);
        self.outcome.error_kind = ErrorKind::Internal;
    }

    /// The desired replicas by the metrics and the reason for a change; `None` when the reconcile gave up.
    fn desired_by_metrics(&mut self, scale: &Scale, min: i32) -> Option<(i32, String)> {
        let current = scale.spec_replicas;
        let (best, metric) = match self.combine(scale) {
            Ok(found) => found,
            Err(error) => {
                self.outcome.status.current_replicas = current;
                self.event(true, "FailedComputeMetricsReplicas", error.clone());
                let what = "failed to compute desired number of replicas based on listed metrics for";
                self.fail(format!("{what} {}: {error}", self.input.reference));
                return None;
            }
        };
        self.outcome.deciding_metric.clone_from(&metric);
        let desired = self.normalise(current, best.max(0), min);
        let reason = match desired.cmp(&current) {
            std::cmp::Ordering::Greater => format!("{metric} above target"),
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        Some((desired, reason))
    }

    /// Evaluates every metric and takes the greatest valid proposal.
    fn combine(&mut self, scale: &Scale) -> Result<(i32, String), String> {
        if let Err((reason, text)) = &scale.selector {
            let message = match *reason {
                "SelectorRequired" => "the HPA target's scale is missing a selector".to_owned(),
                _ => text.clone(),
            };
            self.outcome.status.current_metrics.clear();
            self.event(true, reason, text.clone());
            let condition = if *reason == "AmbiguousSelector" { reason } else { "InvalidSelector" };
            self.condition("ScalingActive", false, condition, message);
            return Err(text.clone());
        }
        let calculator = self.calculator();
        let status_before = self.outcome.status.current_replicas;
        let (mut best, mut best_name) = (0, String::new());
        let mut first_failure: Option<(&'static str, String, String)> = None;
        let mut invalid = 0;
        let mut current_metrics = Vec::with_capacity(self.input.metrics.len());
        for (metric, observed) in self.input.metrics {
            match evaluate(&calculator, self.input, scale, metric, observed, self.now) {
                Ok((proposal, figures, name)) => {
                    current_metrics.push(Some(figures));
                    let action = action(proposal.replicas, status_before);
                    let outcome = MetricOutcome { proposal: Ok(proposal.replicas), action, error: ErrorKind::None };
                    self.outcome.per_metric.push(outcome);
                    if best == 0 || proposal.replicas > best {
                        (best, best_name) = (proposal.replicas, name);
                    }
                }
                Err(failure) => {
                    invalid += 1;
                    current_metrics.push(None);
                    self.event(true, failure.reason, failure.cause.clone());
                    let error =
                        if failure.reason == "InvalidMetricSourceType" { ErrorKind::Spec } else { ErrorKind::Internal };
                    let proposal = Err((failure.reason, failure.error.clone()));
                    self.outcome.per_metric.push(MetricOutcome { proposal, action: Action::None, error });
                    first_failure.get_or_insert((failure.reason, failure.cause, failure.error));
                }
            }
        }
        self.outcome.status.current_metrics = current_metrics;
        let Some((reason, cause, error)) = first_failure else {
            self.active(&best_name);
            return Ok((best, best_name));
        };
        let all = self.input.metrics.len();
        let error = format!("invalid metrics ({invalid} invalid out of {all}), first error is: {error}");
        if invalid == all || best < scale.spec_replicas {
            let message = format!("the HPA was unable to compute the replica count: {cause}");
            self.condition("ScalingActive", false, reason, message);
            return Err(error);
        }
        self.active(&best_name);
        self.fail(error);
        Ok((best, best_name))
    }

    fn active(&mut self, metric: &str) {
        let message = format!("the HPA was able to successfully calculate a replica count from {metric}");
        self.condition("ScalingActive", true, "ValidMetricFound", message);
    }

    fn calculator(&self) -> Calculator {
        let own = |rules: Option<&Rules>| {
            let tolerance = rules.and_then(|rules| rules.tolerance).filter(|_| self.config.configurable_tolerance);
            tolerance.unwrap_or(self.config.tolerance)
        };
        Calculator {
            tolerance_up: own(self.input.behavior.and_then(|behavior| behavior.scale_up.as_ref())),
            tolerance_down: own(self.input.behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            cpu_initialization_period_s: self.config.cpu_initialization_period_s,
            initial_readiness_delay_s: self.config.initial_readiness_delay_s,
        }
    }

    /// Stabilises and limits, with the conditions that tell of it.
    fn normalise(&mut self, current: i32, desired: i32, min: i32) -> i32 {
        let (max, now) = (self.input.max_replicas, self.now);
        let window = self.config.downscale_stabilization_window_s;
        let recommendations = self.state.recommendations.get_or_insert_default();
        let (stable, clamped) = match self.input.behavior {
            None => {
                let stable = stabilize_legacy(desired, recommendations, window, now);
                let rate = (self.config.scale_up_limit_factor, self.config.scale_up_limit_minimum);
                (stable, clamp_legacy(current, stable.replicas, (min, max), rate))
            }
            Some(behavior) => {
                let up = default_rules(Direction::Up, behavior.scale_up.as_ref());
                let down = default_rules(Direction::Down, behavior.scale_down.as_ref());
                let seconds = |rules: &Rules, or: f64| rules.stabilization_window_s.map_or(or, |window| window as f64);
                let windows = (seconds(&up, 0.0), seconds(&down, window));
                let stable = stabilize(current, desired, recommendations, windows, now);
                let limit = Limit { min, max, up: &up, down: &down };
                let (ups, downs) = (&self.state.scale_up_events, &self.state.scale_down_events);
                (stable, clamp(current, stable.replicas, limit, ups, downs, now))
            }
        };
        self.condition("AbleToScale", true, stable.reason, stable.message);
        let limited = clamped.replicas != stable.replicas;
        self.condition("ScalingLimited", limited, clamped.reason, clamped.message());
        clamped.replicas
    }

    fn rescale(&mut self, current: i32, (desired, reason, rescale): (i32, String, bool)) {
        self.outcome.status.current_replicas = current;
        if !rescale {
            self.outcome.status.desired_replicas = current;
            return;
        }
        self.outcome.scale_to = Some(desired);
        if let Some(error) = self.input.scale_update_error {
            self.event(true, "FailedRescale", format!("New size: {desired}; reason: {reason}; error: {error}"));
            let message = format!("the HPA controller was unable to update the target scale: {error}");
            self.condition("AbleToScale", false, "FailedUpdateScale", message);
            self.fail(format!("failed to rescale {}: {error}", self.input.reference));
            return;
        }
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        self.condition("AbleToScale", true, "SucceededRescale", message);
        self.event(false, "SuccessfulRescale", format!("New size: {desired}; reason: {reason}"));
        let State { scale_up_events, scale_down_events, .. } = self.state;
        store_scale_event(self.input.behavior, current, desired, scale_up_events, scale_down_events, self.now);
        self.outcome.action = action(desired, current);
        self.outcome.status.desired_replicas = desired;
        self.outcome.status.last_scale_time_s = Some(self.now);
    }
}

fn action(to: i32, from: i32) -> Action {
    match to.cmp(&from) {
        std::cmp::Ordering::Greater => Action::ScaleUp,
        std::cmp::Ordering::Less => Action::ScaleDown,
        std::cmp::Ordering::Equal => Action::None,
    }
}

struct Failure {
    reason: &'static str,
    /// Text of the condition and the Event.
    cause: String,
    /// Text of the reconcile's error.
    error: String,
}

type Evaluated = Result<(Proposal, CurrentMetric, String), Failure>;

fn evaluate(
    calculator: &Calculator,
    input: &Input<'_>,
    scale: &Scale,
    metric: &Metric,
    observed: &Observed,
    now: f64,
) -> Evaluated {
    match metric {
        Metric::Resource { resource, container, target } => {
            resource_metric(calculator, input, scale, (resource, container.as_deref()), target, observed, now)
        }
        Metric::Pods { name, target } => {
            let fail = |cause: String| Failure {
                reason: "FailedGetPodsMetric",
                error: format!("failed to get pods metric value: {cause}"),
                cause,
            };
            let target = target.average_value_milli.ok_or_else(|| fail("the target has no average value".into()))?;
            let current = scale.spec_replicas;
            let proposal = calculator
                .pods_metric(current, observed, input.pods, name, target, now)
                .map_err(|MetricError(cause)| fail(cause))?;
            let figures = CurrentMetric { average_value_milli: proposal.usage_milli, ..CurrentMetric::default() };
            Ok((proposal, figures, format!("pods metric {name}")))
        }
        Metric::Object { name, described, target } => {
            let fail = |cause: String| Failure {
                reason: "FailedGetObjectMetric",
                error: format!("failed to get object metric value: {cause}"),
                cause,
            };
            let value = match (&observed.error, observed.value_milli) {
                (None, Some(value)) => value,
                (error, _) => {
                    let error = error.as_deref().unwrap_or("no metrics returned from custom metrics API");
                    // Upstream's arguments stand in another order than its words.
                    let (kind, namespace, object) = (&described.kind, input.namespace, &described.name);
                    return Err(fail(format!("unable to get metric {name}: {kind} on {namespace} {object}/{error}")));
                }
            };
            let (proposal, figures) =
                value_metric(calculator, input, scale, target, value, observed.timestamp_s).map_err(fail)?;
            Ok((proposal, figures, format!("{} metric {name}", described.kind)))
        }
        Metric::External { name, selector, target } => {
            let selector = selector_text(selector.as_ref());
            let fail = |cause: String| Failure {
                reason: "FailedGetExternalMetric",
                error: format!(
                    "failed to get {name} external metric value: failed to get external metric {name}: {cause}"
                ),
                cause,
            };
            let error = match &observed.error {
                Some(error) => Some(error.as_str()),
                None if observed.values_milli.is_empty() => Some("no metrics returned from external metrics API"),
                None => None,
            };
            if let Some(error) = error {
                let namespace = input.namespace;
                return Err(fail(format!("unable to get external metric {namespace}/{name}/{selector}: {error}")));
            }
            let value = observed.values_milli.iter().sum();
            let (proposal, figures) =
                value_metric(calculator, input, scale, target, value, observed.timestamp_s).map_err(fail)?;
            Ok((proposal, figures, format!("external metric {name}({selector})")))
        }
        Metric::Unknown(kind) => {
            let text = format!("unknown metric source type {kind:?}");
            Err(Failure { reason: "InvalidMetricSourceType", cause: text.clone(), error: text })
        }
    }
}

fn resource_metric(
    calculator: &Calculator,
    input: &Input<'_>,
    scale: &Scale,
    (resource, container): (&str, Option<&str>),
    target: &Target,
    observed: &Observed,
    now: f64,
) -> Evaluated {
    let current = scale.spec_replicas;
    let kind = if container.is_some() { "container resource" } else { "resource" };
    let fail = |what: &str, cause: &str| {
        let cause = format!("failed to get {resource} {what}: {cause}");
        Failure {
            reason: if container.is_some() { "FailedGetContainerResourceMetric" } else { "FailedGetResourceMetric" },
            error: format!("failed to get {resource} {kind} metric value: {cause}"),
            cause,
        }
    };
    if let Some(target) = target.average_value_milli {
        let proposal = calculator
            .resource_raw(current, observed, input.pods, resource, container, target, now)
            .map_err(|error| fail("usage", &error.0))?;
        let figures = CurrentMetric { average_value_milli: proposal.usage_milli, ..CurrentMetric::default() };
        return Ok((proposal, figures, format!("{resource} {kind}")));
    }
    let Some(target) = target.average_utilization_percent else {
        return Err(fail("target", "neither a utilization target nor a value target was set"));
    };
    let proposal = calculator
        .resource_utilization(current, observed, input.pods, resource, container, target, now)
        .map_err(|error| fail("utilization", &error.0))?;
    let figures = CurrentMetric {
        average_utilization_percent: proposal.utilization_percent,
        average_value_milli: proposal.raw_average_milli,
        value_milli: None,
    };
    Ok((proposal, figures, format!("{resource} {kind} utilization (percentage of request)")))
}

fn value_metric(
    calculator: &Calculator,
    input: &Input<'_>,
    scale: &Scale,
    target: &Target,
    value: i64,
    timestamp_s: f64,
) -> Result<(Proposal, CurrentMetric), String> {
    if let Some(per_pod) = target.average_value_milli {
        let proposal = calculator.per_replica(scale.status_replicas, value, per_pod, timestamp_s);
        let figures = CurrentMetric { average_value_milli: proposal.usage_milli, ..CurrentMetric::default() };
        return Ok((proposal, figures));
    }
    let total = target.value_milli.ok_or("neither a value target nor an average value target was set")?;
    let proposal = calculator.total(scale.spec_replicas, value, total, input.pods).map_err(|error| error.0)?;
    Ok((proposal, CurrentMetric { value_milli: proposal.usage_milli, ..CurrentMetric::default() }))
}

/// A selector as upstream prints it in messages.
fn selector_text(selector: Option<&BTreeMap<String, String>>) -> String {
    let Some(labels) = selector else { return "nil".to_owned() };
    let pairs = labels.iter().map(|(key, value)| format!("{key}: {value},"));
    let pairs: String = pairs.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
    )
}
