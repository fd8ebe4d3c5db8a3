//! One pass of the scale decision: 0 <-> 1 and idle; 1 <-> N is the HPA's.

use serde_json::Value as Json;

use super::{checks::Bounds, render::Annotations};

/// The parts of a `ScaledObject` that decide.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// `minReplicaCount`, 0 when not set.
    pub min: i32,
    /// `idleReplicaCount`.
    pub idle: Option<i32>,
    /// `cooldownPeriod`, seconds.
    pub cooldown_s: f64,
    /// `initialCooldownPeriod`, seconds.
    pub initial_cooldown_s: f64,
    /// `fallback.replicas`, where a fallback is set.
    pub fallback_replicas: Option<i32>,
    /// Annotations.
    pub annotations: Annotations,
    /// `KIND NAMESPACE/NAME` of the target, such as `apps/v1.Deployment demo/web`.
    pub target: String,
}

/// What a pass sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Replicas of the target.
    pub current: i32,
    /// Any trigger is active.
    pub active: bool,
    /// Any trigger failed.
    pub error: bool,
    /// Metric names of active triggers.
    pub active_triggers: Vec<String>,
    /// Seconds since it was created.
    pub age_s: f64,
    /// Why an update of the scale fails, when it does.
    pub scale_error: Option<String>,
    /// Conditions of the HPA, where it could be looked at.
    pub hpa_conditions: Option<Json>,
}

/// What is remembered between passes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct State {
    /// When it was last active.
    pub last_active_s: Option<f64>,
}

/// A condition that a pass sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Type.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
}

/// An Event that a pass emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// Reason.
    pub reason: &'static str,
    /// Message.
    pub message: String,
}

/// What a pass decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pass {
    /// Replicas to set.
    pub scale_to: Option<i32>,
    /// Conditions to set, in order; later ones of a type win.
    pub conditions: Vec<Condition>,
    /// Events.
    pub events: Vec<Event>,
    /// What the pass fails with.
    pub error: Option<String>,
    /// It counts as active now.
    pub touched: bool,
}

impl Pass {
    fn condition(
        &mut self,
        kind: &'static str,
        status: &'static str,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.conditions.push(Condition { kind, status, reason: reason.into(), message: message.into() });
    }

    fn event(&mut self, warning: bool, reason: &'static str, message: String) {
        self.events.push(Event { warning, reason, message });
    }
}

/// Decides once.
pub fn execute(object: &Object, seen: &Observation, state: &mut State, now_s: f64) -> Pass {
    let mut pass = Pass::default();
    pass.condition("Ready", "True", "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling");
    if object.annotations.paused {
        pass.condition("Paused", "True", "ScaledObjectPaused", "ScaledObject is paused");
        return pass;
    }
    if seen.active || object.annotations.forced {
        active(object, seen, &mut pass);
    } else {
        inactive(object, seen, *state, now_s, &mut pass);
    }
    if pass.touched {
        state.last_active_s = Some(now_s);
    }
    pass.conditions.extend(seen.hpa_conditions.as_ref().and_then(hpa_health));
    pass
}

/// The condition `HPAActive`; none where the HPA does not tell.
pub fn hpa_health(conditions: &Json) -> Option<Condition> {
    let scaling = conditions.as_array()?.iter().find(|condition| condition["type"] == "ScalingActive")?;
    let text = |key: &str| scaling[key].as_str().unwrap_or_default();
    let (status, reason, message) = match (text("status"), text("reason")) {
        ("True", _) => ("True", "HPAActive", "HPA is actively scaling".to_owned()),
        (_, "ScalingDisabled") => ("True", "ScalingDisabled", text("message").to_owned()),
        (_, reason) => {
            let reason = if reason.is_empty() { "HPAMetricsUnavailable" } else { reason };
            ("False", reason, format!("HPA is not actively scaling: {}", text("message")))
        }
    };
    Some(Condition { kind: "HPAActive", status, reason: reason.to_owned(), message })
}

impl Object {
    /// The parts of a `ScaledObject` that decide. `target` is `KIND NAMESPACE/NAME`.
    pub fn read(object: &Json, target: String) -> Self {
        let spec = &object["spec"];
        let seconds = |key: &str, default: f64| spec[key].as_f64().unwrap_or(default);
        let bounds = Bounds::read(spec);
        Self {
            min: bounds.min.unwrap_or(0),
            idle: bounds.idle,
            cooldown_s: seconds("cooldownPeriod", 300.0),
            initial_cooldown_s: seconds("initialCooldownPeriod", 0.0),
            fallback_replicas: spec["fallback"]["replicas"]
                .as_i64()
                .map(|replicas| replicas as i32)
                .or_else(|| spec["fallback"].is_object().then_some(0)),
            annotations: Annotations::read(object),
            target,
        }
    }

    /// Replicas of a target that sleeps, and whether these are the idle ones.
    pub fn idle_or_min(&self) -> (i32, bool) {
        self.idle.map_or((self.min, false), |idle| (idle, true))
    }
}

fn active(object: &Object, seen: &Observation, pass: &mut Pass) {
    let forced = object.annotations.forced;
    let why = if forced { "activation is being forced by annotation" } else { "triggers are active" };
    pass.condition("Active", "True", "ScalerActive", format!("Scaling is performed because {why}"));
    let below_idle = object.idle.is_some() && seen.current < object.min;
    if below_idle || seen.current == 0 {
        if object.annotations.paused_out {
            return;
        }
        let to = if object.min > 0 { object.min } else { 1 };
        pass.scale_to = Some(to);
        let (target, from) = (&object.target, seen.current);
        if let Some(error) = &seen.scale_error {
            let message = format!("Failed to scale {target} from {from} to {to}: {error}");
            failed(pass, format!("error activating ScaleTarget: {error}"));
            pass.event(true, "KEDAScaleTargetActivationFailed", message);
            return;
        }
        pass.touched = true;
        let by = if forced {
            "caused by forced activation annotation".to_owned()
        } else {
            format!("triggered by {}", seen.active_triggers.join(";"))
        };
        pass.event(false, "KEDAScaleTargetActivated", format!("Scaled {target} from {from} to {to}, {by}"));
    } else if seen.error {
        let message = "Some triggers defined in ScaledObject are not working correctly";
        pass.condition("Ready", "Unknown", "PartialTriggerError", message);
    } else {
        pass.touched = true;
    }
}

fn failed(pass: &mut Pass, error: String) {
    pass.condition("Ready", "False", "ErrorScalingTarget", error.clone());
    pass.error = Some(error);
}

fn inactive(object: &Object, seen: &Observation, state: State, now_s: f64, pass: &mut Pass) {
    let message = "Scaling is not performed because triggers are not active";
    pass.condition("Active", "False", "ScalerNotActive", message);
    if seen.error && object.fallback_replicas.is_some_and(|replicas| replicas != 0) {
        return;
    }
    if seen.error && object.fallback_replicas.is_none() {
        let message = "Triggers defined in ScaledObject are not working correctly";
        pass.condition("Ready", "False", "TriggerError", message);
        return;
    }
    let above_idle = object.idle.is_some_and(|idle| seen.current > idle);
    if above_idle || (seen.current > 0 && object.min == 0) {
        deactivate(object, seen, state, now_s, pass);
    } else if object.idle.is_none() && seen.current < object.min {
        pass.scale_to = Some(object.min);
        if let Some(error) = &seen.scale_error {
            failed(pass, format!("error setting ScaleTarget replicas count to ScaledObject minReplicaCount: {error}"));
        }
    }
}

fn deactivate(object: &Object, seen: &Observation, state: State, now_s: f64, pass: &mut Pass) {
    if object.annotations.paused_in {
        return;
    }
    let allowed = match state.last_active_s {
        None => seen.age_s > object.initial_cooldown_s,
        Some(at) => now_s - at > object.cooldown_s,
    };
    if !allowed {
        let message = "Scaler cooling down because triggers are not active";
        pass.condition("Active", "False", "ScalerCooldown", message);
        return;
    }
    let (to, _) = object.idle_or_min();
    pass.scale_to = Some(to);
    let (target, from) = (&object.target, seen.current);
    if let Some(error) = &seen.scale_error {
        failed(pass, format!("error deactivating ScaleTarget: {error}"));
        let message = format!("Failed to deactivate {target} from {from} to {to}: {error}");
        pass.event(true, "KEDAScaleTargetDeactivationFailed", message);
        return;
    }
    pass.event(false, "KEDAScaleTargetDeactivated", format!("Deactivated {target} from {from} to {to}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object { cooldown_s: 300.0, target: "apps/v1.Deployment demo/worker".into(), ..Object::default() }
    }

    #[test]
    fn an_active_trigger_wakes_a_target_at_zero() {
        let seen = Observation { active: true, active_triggers: vec!["s0-redis-q".into()], ..Observation::default() };
        let mut state = State::default();
        let pass = execute(&object(), &seen, &mut state, 10.0);
        assert_eq!(pass.scale_to, Some(1));
        assert_eq!(
            pass.events[0].message,
            "Scaled apps/v1.Deployment demo/worker from 0 to 1, triggered by s0-redis-q"
        );
        assert_eq!(state.last_active_s, Some(10.0));
    }

    #[test]
    fn the_cooldown_holds_the_step_to_zero() {
        let seen = Observation { current: 1, ..Observation::default() };
        let mut state = State { last_active_s: Some(0.0) };
        assert_eq!(execute(&object(), &seen, &mut state, 300.0).scale_to, None, "strictly more than the cooldown");
        assert_eq!(execute(&object(), &seen, &mut state, 300.1).scale_to, Some(0));
    }
}
