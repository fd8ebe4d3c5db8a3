//! The trigger `prometheus`: the one number that a query gives.
//!
//! Upstream: `pkg/scalers/prometheus_scaler.go` (<https://keda.sh/docs/2.21/scalers/prometheus/>). The request itself is
//! the caller's.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use serde_json::{Map, Value};

use super::parameters::{AUTH, META, Parameters, Place, Reader};

/// Parameters of the trigger, checked.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are those of upstream's documentation")]
pub struct Prometheus {
    pub server_address: String,
    pub query: String,
    /// Value per replica.
    pub threshold: f64,
    /// Active above this.
    pub activation_threshold: f64,
    pub namespace: String,
    pub query_parameters: BTreeMap<String, String>,
    pub custom_headers: BTreeMap<String, String>,
    /// No or infinite values count as 0.
    pub ignore_null_values: bool,
    pub unsafe_ssl: bool,
    pub timeout: Option<Duration>,
    pub aws_region: String,
    pub auth_modes: Vec<String>,
}

const MODES: [&str; 6] = ["apiKey", "basic", "tls", "bearer", "custom", "oauth"];

impl Prometheus {
    /// Reads and checks the parameters; the error names every wrong one. `pod_identity` is the provider's name, empty or
    /// `none` where there is none.
    pub fn parse(parameters: &Parameters, pod_identity: &str) -> Result<Self, String> {
        let mut reader = Reader::new(parameters);
        let meta_auth = [Place::Meta, Place::Auth];
        let prometheus = Self {
            server_address: reader.required_text("serverAddress"),
            query: reader.required_text("query"),
            query_parameters: reader.map("queryParameters"),
            threshold: reader.required_float("threshold"),
            activation_threshold: reader.float("activationThreshold", 0.0),
            namespace: reader.text(&["namespace"], META),
            custom_headers: reader.map("customHeaders"),
            ignore_null_values: reader.flag("ignoreNullValues", true),
            unsafe_ssl: reader.flag("unsafeSsl", false),
            aws_region: reader.text(&["awsRegion"], &meta_auth),
            timeout: reader.duration("timeout"),
            auth_modes: reader.words(&["authModes", "authMode"], &meta_auth, &MODES, &["bearer", "basic", "oauth"]),
        };
        let wrong = authentication(&prometheus.auth_modes, &mut reader);
        reader.errors.extend(wrong);
        if !reader.errors.is_empty() {
            return Err(format!("error parsing prometheus metadata: {}", reader.errors.join("\n")));
        }
        if !prometheus.auth_modes.is_empty() && !matches!(pod_identity, "" | "none") {
            return Err("pod identity cannot be enabled with other auth types".to_owned());
        }
        Ok(prometheus)
    }

    /// Whether a value asks for at least one replica.
    pub fn is_active(&self, value: f64) -> bool {
        value > self.activation_threshold
    }

    /// Path and query of the request for a time in RFC 3339, each pair in order, not yet escaped.
    pub fn request(&self, time: &str) -> (&'static str, Vec<(String, String)>) {
        let mut pairs = vec![("query".to_owned(), self.query.clone()), ("time".to_owned(), time.to_owned())];
        if !self.namespace.is_empty() {
            pairs.push(("namespace".to_owned(), self.namespace.clone()));
        }
        pairs.extend(self.query_parameters.clone());
        ("/api/v1/query", pairs)
    }

    /// The one number of an answer.
    pub fn read(&self, status: u16, body: &str) -> Result<f64, String> {
        if !(200..300).contains(&status) {
            return Err(format!("prometheus query api returned error. status: {status}"));
        }
        let body = Some(serde_json::from_str(body).map_err(|error| error.to_string())?);
        let lost = |what: &str| {
            let text = || format!("prometheus metrics 'prometheus' target may be lost, {what}");
            if self.ignore_null_values { Ok(0.0) } else { Err(text()) }
        };
        let data = {
            let body = object("body", body.as_ref())?;
            typed("status", body, Value::as_str)?;
            object("data", body.get("data"))?
        };
        typed("resultType", data, Value::as_str)?;
        let results = typed("result", data, Value::as_array)?.map_or(&[][..], Vec::as_slice);
        let mut values = Vec::new();
        for result in results {
            let result = object("result", Some(result))?;
            object("metric", result.get("metric"))?;
            values.push(typed("value", result, Value::as_array)?.map_or(&[][..], Vec::as_slice));
        }
        let value = match values.as_slice() {
            [] => return lost("the result is empty"),
            [[]] => return lost("the value list is empty"),
            [[_]] => return Err(format!("prometheus query {} didn't return enough values", self.query)),
            [[_, value, ..]] => value,
            _ => return Err(format!("prometheus query {} returned multiple elements", self.query)),
        };
        let text = match value {
            Value::Null => return Ok(-1.0),
            Value::String(text) => text,
            other => return Err(format!("{other} is not a text")),
        };
        let number = float(text).ok_or_else(|| format!("{text:?} is not a number"))?;
        if number.is_finite() {
            return Ok(number);
        }
        if self.ignore_null_values { Ok(0.0) } else { Err(format!("prometheus query returns {}", infinite(number))) }
    }
}

/// An object's members; none of it, or null, counts as one without members.
fn object<'a>(name: &str, value: Option<&'a Value>) -> Result<&'a Map<String, Value>, String> {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    match value {
        None | Some(Value::Null) => Ok(&EMPTY),
        Some(Value::Object(members)) => Ok(members),
        Some(other) => Err(format!("{name} is not an object: {other}")),
    }
}

/// A member that may lack or be null, but may not be of another type.
fn typed<'a, T>(
    name: &str,
    members: &'a Map<String, Value>,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let value = members.get(name).filter(|value| !value.is_null());
    value.map(|value| read(value).ok_or_else(|| format!("{name} is of another type: {value}"))).transpose()
}

/// A float; one beyond the range is none, and what is not a number has no sign.
fn float(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let beyond = number.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    let signed = number.is_nan() && text.starts_with(['+', '-']);
    Some(number).filter(|_| !beyond && !signed)
}

fn infinite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// The first rule of the modes that does not hold.
fn authentication(modes: &[String], reader: &mut Reader<'_>) -> Option<String> {
    let mut has = |names: &[&str]| if reader.text(names, AUTH).is_empty() { "<empty>" } else { "<present>" };
    let mut pair = |mode: &str, a: &str, b: &str, tail: &str| {
        let (first, second) = (has(&[a]), has(&[b]));
        let fails = modes.iter().any(|given| given == mode) && (first == "<empty>" || second == "<empty>");
        fails.then(|| format!("{a}={first} and {b}={second} are required when {tail}"))
    };
    let tls = pair("tls", "cert", "key", "tls auth is enabled");
    let oauth = pair("oauth", "oauthTokenURI", "clientID", "oauth is enabled");
    let custom = pair("custom", "customAuthHeader", "customAuthValue", "custom auth is enabled");
    let mut one = |mode: &str, names: &[&str], text: &str| {
        let fails = modes.iter().any(|given| given == mode) && has(names) == "<empty>";
        fails.then(|| text.to_owned())
    };
    let bearer =
        one("bearer", &["bearerToken", "token"], "bearer token=<empty> is required when bearer auth is enabled");
    let basic = one("basic", &["username"], "username=<empty> is required when basic auth is enabled");
    let api_key = one("apiKey", &["apiKey"], "apiKey is required when apiKey auth is enabled");
    bearer.or(basic).or(tls).or(oauth).or(custom).or(api_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_keda_reads_them() {
        let read = |result: &str, ignore_null_values| {
            let trigger = Prometheus { query: "q".into(), ignore_null_values, ..Prometheus::default() };
            trigger.read(200, &format!("{{\"data\":{{\"result\":{result}}}}}"))
        };
        assert_eq!(read(r#"[{"value":[1,"2.5"]}]"#, true), Ok(2.5));
        assert_eq!(read("[]", true), Ok(0.0));
        assert!(read("[]", false).is_err_and(|error| error.contains("the result is empty")));
        assert_eq!(read(r#"[{"value":[1,"+Inf"]}]"#, true), Ok(0.0));
        assert_eq!(read(r#"[{"value":[1,null]}]"#, true), Ok(-1.0));
        assert_eq!(read(r#"[{"values":[[1,"2"]]}]"#, true), Ok(0.0), "a matrix has no single value");
        assert!(read("[{},{}]", true).is_err_and(|error| error.contains("multiple elements")));
        assert!(read(r#"[1,"2"]"#, true).is_err(), "a scalar is no list of objects");
        for wrong in [r#"{"value":"2"}"#, r#"{"metric":"up","value":[1,"2"]}"#, r#"{"value":[1,"1e400"]}"#] {
            assert!(read(&format!("[{wrong}]"), true).is_err(), "{wrong}");
        }
        let lenient = Prometheus { ignore_null_values: true, ..Prometheus::default() };
        assert_eq!(lenient.read(200, "null"), Ok(0.0));
        for wrong in ["[]", "true", r#"{"status":5}"#, r#"{"data":[]}"#, r#"{"data":{"resultType":4}}"#] {
            assert!(lenient.read(200, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_failing_mode_is_told() {
        let metadata =
            [("serverAddress", "http://p"), ("query", "up"), ("threshold", "1"), ("authModes", "custom,tls")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let error = Prometheus::parse(&Parameters { metadata, ..Parameters::default() }, "").expect_err("no cert");
        let text =
            "error parsing prometheus metadata: cert=<empty> and key=<empty> are required when tls auth is enabled";
        assert_eq!(error, text);
    }
}
