//! A test of a suite as a k6 script, so that k6 makes the load that the built-in engine makes.
//!
//! <https://grafana.com/docs/k6/latest/using-k6/k6-options/reference/>. What differs by run comes in as variables of
//! k6's environment: [`BASE_URL`], [`SEED`], and [`SUMMARY`], the file that the summary goes to. Every sample of a
//! request carries the tags `step` (its index in the journey) and `expected_response`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::suite::{Executor, Request, Step, Test};

/// Variable of the base address, `http://HOST:PORT`.
pub const BASE_URL: &str = "BASE_URL";
/// Variable of the seed of think times, below 2^32.
pub const SEED: &str = "SEED";
/// Variable of the file that k6's summary is written to.
pub const SUMMARY: &str = "SUMMARY";
/// Counter of begun iterations; k6 itself only tells of those that ended.
pub const ITERATIONS_STARTED: &str = "iterations_started";

/// The script of a test; `speed` divides the durations of its executor.
pub fn script(test: &Test, speed: f64) -> String {
    let options = format!("{:#}", options(test, speed));
    let requests = test.journey.iter().filter(|step| matches!(step, Step::Request(_))).count();
    let steps = statements(&test.journey);
    format!(
        r"// Test {name} as democtl renders it.
import {{ check, randomSeed, sleep }} from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import {{ Counter }} from 'k6/metrics';

export const options = {options};

const base = __ENV.{BASE_URL};
const started = new Counter({ITERATIONS_STARTED:?});
// Each VU draws its own think times.
randomSeed(Number(__ENV.{SEED}) * 100003 + __VU);

function think(min, max) {{
  sleep(min + Math.random() * (max - min));
}}

function ask(method, path, body, step, expected, more) {{
  const params = {{ tags: {{ step }}, redirects: 0, responseCallback: http.expectedStatuses(...expected), ...more }};
  if (body !== null) params.headers = {{ 'Content-Type': 'application/json' }};
  return http.request(method, path.startsWith('/') ? base + path : path, body, params);
}}

function expects(answer, expected) {{
  return expected.some((s) => (typeof s === 'number' ? s === answer.status : s.min <= answer.status && answer.status <= s.max));
}}

// One step; yields the answer's Location.
function request(name, method, path, body, step, expected) {{
  const answer = ask(method, path, body, step, expected, {{ responseType: 'none' }});
  check(answer, {{ [name]: (a) => expects(a, expected) }});
  return answer.headers['Location'];
}}

function has(answer, field, value) {{
  try {{
    return answer.json()[field] === value;
  }} catch (_) {{
    return false;
  }}
}}

// Asks until the field is as wanted; the iteration goes on either way.
function poll(name, path, step, field, value, interval, timeout) {{
  const last = Date.now() + timeout * 1000;
  const good = [{{ min: 200, max: 399 }}];
  let held = false;
  while (path) {{
    const answer = ask('GET', path, null, step, good, {{ responseType: 'text' }});
    held = expects(answer, good) && has(answer, field, value);
    if (held || Date.now() + interval * 1000 > last) break;
    sleep(interval);
  }}
  check(held, {{ [name]: (h) => h }});
}}

export default function () {{
  const vu = exec.vu.idInTest;
  const iter = exec.vu.iterationInInstance;
  const seq = exec.scenario.iterationInTest * {requests};
  let location;
  started.add(1);
{steps}}}

export function handleSummary(data) {{
  return {{ [__ENV.{SUMMARY}]: JSON.stringify(data) }};
}}
",
        name = literal(&test.name),
    )
}

fn options(test: &Test, speed: f64) -> Value {
    let time = |duration: Duration| format!("{}ms", duration.div_f64(speed).as_secs_f64() * 1000.0);
    let mut scenario = match &test.executor {
        Executor::ConstantVus { vus, duration } => {
            json!({ "executor": "constant-vus", "vus": vus, "duration": time(*duration) })
        }
        Executor::RampingVus { start_vus, stages, graceful_ramp_down } => json!({
            "executor": "ramping-vus",
            "startVUs": start_vus,
            "stages": stages
                .iter()
                .map(|stage| json!({ "duration": time(stage.duration), "target": stage.target }))
                .collect::<Vec<_>>(),
            "gracefulRampDown": time(*graceful_ramp_down),
        }),
    };
    scenario["gracefulStop"] = time(test.graceful_stop).into();
    let mut thresholds = serde_json::Map::new();
    for threshold in &test.thresholds {
        let conditions = thresholds.entry(&threshold.metric).or_insert_with(|| json!([]));
        if let Value::Array(conditions) = conditions {
            conditions.push(threshold.condition().into());
        }
    }
    json!({
        "scenarios": { &test.name: scenario },
        "thresholds": thresholds,
        // What a threshold is taken of is in the summary, under the same words.
        "summaryTrendStats": trend_stats(test),
        // Fewer tags are fewer bytes for each sample, and k6 has less to do.
        "systemTags": ["expected_response"],
    })
}

fn trend_stats(test: &Test) -> Vec<String> {
    let trends = test.thresholds.iter().filter(|threshold| threshold.metric.ends_with("_duration"));
    let mut stats: Vec<_> = trends.map(|threshold| threshold.aggregate.to_string()).collect();
    stats.push("avg".to_owned());
    stats.sort();
    stats.dedup();
    stats
}

fn statements(journey: &[Step]) -> String {
    let mut requests = 0;
    let statement = |(index, step): (usize, &Step)| match step {
        Step::Request(request) => {
            requests += 1;
            request_statement(index, request, requests - 1)
        }
        Step::Think { min, max } => format!("  think({}, {});\n", min.as_secs_f64(), max.as_secs_f64()),
        Step::PollUntil { name, field, equals, interval, timeout } => format!(
            "  poll({}, location, '{index}', {}, {}, {}, {});\n",
            literal(name),
            literal(field),
            literal(equals),
            interval.as_secs_f64(),
            timeout.as_secs_f64()
        ),
    };
    journey.iter().enumerate().map(statement).collect()
}

/// `nth`: how many requests of the journey come before, which makes `${seq}` unique.
fn request_statement(index: usize, request: &Request, nth: usize) -> String {
    let expected = if request.expect.is_empty() {
        "[{ min: 200, max: 399 }]".to_owned()
    } else {
        json!(request.expect).to_string()
    };
    format!(
        "  location = request({}, {}, {}, {}, '{index}', {expected});\n",
        literal(&request.name),
        literal(&request.method),
        filled(&request.path, nth),
        request.body.as_deref().map_or("null".to_owned(), |body| filled(body, nth)),
    )
}

/// A text as a JavaScript string.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// A JavaScript expression of a text with the placeholders `${vu}`, `${iter}`, `${seq}`. It begins with a text, so
/// that `+` never adds numbers.
fn filled(text: &str, nth: usize) -> String {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, name)) =
        ["vu", "iter", "seq"].iter().filter_map(|name| Some((rest.find(&format!("${{{name}}}"))?, *name))).min()
    {
        parts.push(literal(&rest[..at]));
        parts.push(if name == "seq" { format!("(seq + {nth})") } else { name.to_owned() });
        rest = &rest[at + name.len() + "${}".len()..];
    }
    parts.push(literal(rest));
    parts.join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_expressions() {
        assert_eq!(filled(r#"{"a":"${vu}-${seq}"}"#, 1), r#""{\"a\":\"" + vu + "-" + (seq + 1) + "\"}""#);
        assert_eq!(filled("${vu}${iter}", 0), r#""" + vu + "" + iter + """#);
        assert_eq!(filled("/a/${other}", 0), r#""/a/${other}""#);
    }
}
