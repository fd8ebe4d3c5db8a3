//! Parts of cells: members of objects as text, ages, lists that are cut.

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(super) fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn or_none(text: String) -> String {
    or(text, "<none>")
}

pub(super) fn or(text: String, instead: &str) -> String {
    if text.is_empty() { instead.to_owned() } else { text }
}

/// A member of a list joined with commas.
pub(super) fn joined<'a>(items: impl Iterator<Item = &'a Value>, pointer: &str) -> String {
    items.map(|item| text(item, pointer)).collect::<Vec<_>>().join(",")
}

/// `a=1,b=2`, in the order of keys.
pub(super) fn pairs(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let mut pairs: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    or_none(pairs.join(","))
}

/// The first three, and how many more there are.
pub(super) fn three(mut all: Vec<String>) -> String {
    let more = all.len().saturating_sub(3);
    all.truncate(3);
    let shown = all.join(",");
    if more > 0 { format!("{shown} + {more} more...") } else { shown }
}

/// Time since, as upstream shortens it.
pub(super) fn age(time: &str) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(time) else { return "<unknown>".to_owned() };
    human_duration((Utc::now() - at.with_timezone(&Utc)).num_seconds())
}

/// The time between two others.
pub(super) fn between(start: &str, end: &str) -> String {
    match (DateTime::parse_from_rfc3339(start), DateTime::parse_from_rfc3339(end)) {
        (Ok(start), Ok(end)) => human_duration((end - start).num_seconds()),
        _ => String::new(),
    }
}

/// `duration.HumanDuration` of apimachinery.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        s if s < -1 => "<invalid>".to_owned(),
        s if s < 0 => "0s".to_owned(),
        s if s < 120 => format!("{s}s"),
        s if s < 600 && s % 60 != 0 => format!("{minutes}m{}s", s % 60),
        s if s < 10_800 => format!("{minutes}m"),
        s if s < 28_800 && minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        s if s < 172_800 => format!("{hours}h"),
        s if s < 691_200 && hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        s if s < 63_072_000 => format!("{days}d"),
        s if s < 252_288_000 && days % 365 != 0 => format!("{}y{}d", days / 365, days % 365),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shortened_as_upstream_does() {
        let cases = [
            (-5, "<invalid>"),
            (5, "5s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (700, "11m"),
            (7300, "121m"),
            (11_000, "3h3m"),
            (200_000, "2d7h"),
            (70_000_000, "2y80d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let all = |count: usize| (0..count).map(|n| n.to_string()).collect();
        assert_eq!(three(all(3)), "0,1,2");
        assert_eq!(three(all(5)), "0,1,2 + 2 more...");
    }
}
