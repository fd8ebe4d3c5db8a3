//! A trigger's parameters: where they are looked for, of which types they are, what is said of wrong ones.
//!
//! Upstream: `pkg/scalers/scalersconfig/typed_config.go` of KEDA.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

/// Everything that a trigger's parameters may come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The trigger's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// Parameters of its `TriggerAuthentication`.
    pub auth: BTreeMap<String, String>,
    /// Environment of the target's container.
    pub env: BTreeMap<String, String>,
}

impl Parameters {
    /// Those that stand in an entry of `spec.triggers` itself.
    pub fn of_trigger(trigger: &Value) -> Self {
        let pairs = trigger["metadata"].as_object().into_iter().flatten();
        let metadata = pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        Self { metadata, ..Self::default() }
    }
}

/// A place that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Meta,
    Auth,
    Env,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Meta => "triggerMetadata",
            Self::Auth => "authParams",
            Self::Env => "resolvedEnv",
        }
    }
}

pub(super) const META: &[Place] = &[Place::Meta];
pub(super) const AUTH: &[Place] = &[Place::Auth];

/// Reads parameters and gathers every error; one that cannot be read keeps its zero value.
pub(super) struct Reader<'a> {
    parameters: &'a Parameters,
    pub(super) errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(parameters: &'a Parameters) -> Self {
        Self { parameters, errors: Vec::new() }
    }

    /// Place after place and name after name, the first value that is not blank.
    fn find(&self, names: &[&str], places: &[Place]) -> Option<&'a str> {
        let Parameters { metadata, auth, env } = self.parameters;
        let value = |place: Place, name: &str| match place {
            Place::Meta => metadata.get(name),
            Place::Auth => auth.get(name),
            Place::Env => metadata.get(&format!("{name}FromEnv")).and_then(|variable| env.get(variable)),
        };
        places
            .iter()
            .flat_map(|place| names.iter().map(move |name| (*place, *name)))
            .filter_map(|(place, name)| value(place, name))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
    }

    /// The value, the default where it is not given, or its zero where it cannot be read.
    fn parse<T: Default>(
        &mut self,
        names: &[&str],
        places: &[Place],
        default: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let Some(value) = self.find(names, places) else { return default };
        read(value).unwrap_or_else(|detail| {
            let names = names.join(",");
            self.errors.push(format!("unable to set param {names:?} value {value:?}: {detail}"));
            T::default()
        })
    }

    /// Says that a required one is missing.
    fn missing(&mut self, names: &[&str], places: &[Place]) {
        let places: Vec<&str> = places.iter().map(|place| place.name()).collect();
        let (names, places) = (names.join(","), places.join(" "));
        self.errors.push(format!("missing required parameter {names:?} in [{places}]"));
    }

    pub(super) fn text(&mut self, names: &[&str], places: &[Place]) -> String {
        self.find(names, places).unwrap_or_default().to_owned()
    }

    pub(super) fn required_text(&mut self, name: &str) -> String {
        if self.find(&[name], META).is_none() {
            self.missing(&[name], META);
        }
        self.text(&[name], META)
    }

    pub(super) fn int(&mut self, name: &str, default: i64) -> i64 {
        self.parse(&[name], META, default, json)
    }

    pub(super) fn required_int(&mut self, name: &str) -> i64 {
        if self.find(&[name], META).is_none() {
            self.missing(&[name], META);
        }
        self.int(name, 0)
    }

    pub(super) fn float(&mut self, name: &str, default: f64) -> f64 {
        self.parse(&[name], META, default, json)
    }

    pub(super) fn required_float(&mut self, name: &str) -> f64 {
        if self.find(&[name], META).is_none() {
            self.missing(&[name], META);
        }
        self.float(name, 0.0)
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parse(&[name], META, default, |value| {
            flag(value).ok_or_else(|| format!("unable to parse boolean value {value:?}"))
        })
    }

    pub(super) fn list(&mut self, names: &[&str], places: &[Place]) -> Vec<String> {
        let list = self.find(names, places).map(|value| value.split(',').map(|part| part.trim().to_owned()).collect());
        list.unwrap_or_default()
    }

    /// A list of words out of `allowed`, of which at most one may be of `exclusive`.
    pub(super) fn words(
        &mut self,
        names: &[&str],
        places: &[Place],
        allowed: &[&str],
        exclusive: &[&str],
    ) -> Vec<String> {
        let list = self.list(names, places);
        let Some(value) = self.find(names, places) else { return list };
        let names = names.join(",");
        if list.iter().any(|word| !allowed.contains(&word.as_str())) {
            self.errors.push(format!("parameter {names:?} value {value:?} must be one of [{}]", allowed.join(" ")));
            return Vec::new();
        }
        if list.iter().filter(|word| exclusive.contains(&word.as_str())).count() > 1 {
            let exclusive = exclusive.join(" ");
            self.errors.push(format!("parameter {names:?} value {value:?} must contain only one of [{exclusive}]"));
            return Vec::new();
        }
        list
    }

    pub(super) fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let pairs = |value: &str| {
            let pair = |part: &str| match part.split('=').collect::<Vec<_>>().as_slice() {
                [key, value] => Ok((key.trim().to_owned(), value.trim().to_owned())),
                _ => Err(format!("expected format key=value, got {:?}", part.trim())),
            };
            value.split(',').map(pair).collect()
        };
        self.parse(&[name], META, BTreeMap::new(), pairs)
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parse(&[name], META, None, |value| duration(value).map(Some))
    }
}

fn json<T: serde::de::DeserializeOwned>(value: &str) -> Result<T, String> {
    serde_json::from_str(value).map_err(|error| error.to_string())
}

/// The words of Go's `strconv.ParseBool`.
pub(super) fn flag(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Whole milliseconds, or the form of Go's `time.ParseDuration`.
fn duration(value: &str) -> Result<Duration, String> {
    if let Ok(milli) = value.parse::<i64>() {
        let negative = || format!("duration cannot be negative: {milli} milliseconds");
        return u64::try_from(milli).map(Duration::from_millis).map_err(|_| negative());
    }
    match go_duration(value) {
        Some(seconds) if seconds < 0.0 => Err(format!("duration cannot be negative: {value}")),
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        None => Err(format!("unable to parse duration {value:?}")),
    }
}

/// Seconds of a Go duration such as `1h30m`, `1.5s`, `-20ms`.
pub(in crate::autoscale) fn go_duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut total = (!rest.is_empty()).then_some(0.0)?;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|end| *end > 0)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn places_come_before_names_and_blanks_do_not_count() {
        let parameters = Parameters {
            metadata: map(&[("hosts", " meta "), ("host", "  "), ("hostFromEnv", "H")]),
            auth: map(&[("host", "auth")]),
            env: map(&[("H", "env")]),
        };
        let mut reader = Reader::new(&parameters);
        let names = ["host", "hosts"];
        assert_eq!(reader.text(&names, &[Place::Meta, Place::Env, Place::Auth]), "meta");
        assert_eq!(reader.text(&["host"], &[Place::Meta, Place::Env, Place::Auth]), "env");
        assert_eq!(reader.text(&["host"], &[Place::Auth, Place::Env]), "auth");
    }

    #[test]
    fn every_error_is_told_and_a_wrong_value_is_zero() {
        let parameters =
            Parameters { metadata: map(&[("n", "+5"), ("b", "yes"), ("m", "a=b=c")]), ..Parameters::default() };
        let mut reader = Reader::new(&parameters);
        assert_eq!((reader.int("n", 7), reader.flag("b", true), reader.map("m").len()), (0, false, 0));
        reader.required_text("gone");
        assert_eq!(reader.errors.len(), 4);
        assert_eq!(reader.errors[3], "missing required parameter \"gone\" in [triggerMetadata]");
    }

    #[test]
    fn durations_are_milliseconds_or_gos() {
        assert_eq!(duration("2500"), Ok(Duration::from_millis(2500)));
        assert_eq!(duration("1h1.5s"), Ok(Duration::from_millis(3_601_500)));
        assert!(
            duration("-1").is_err() && duration("-1s").is_err() && duration("1x").is_err() && duration("s").is_err()
        );
    }
}
