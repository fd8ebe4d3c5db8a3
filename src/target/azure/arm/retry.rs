//! When a request is sent again, and after how long. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling>

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A server that asks for more than this is not obeyed to the letter.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// How long to wait after the `attempt`th failure when nobody says: 1, 2, 4, ... 60 s.
pub(super) fn backoff(attempt: u32) -> Duration {
    SHORTEST.saturating_mul(1 << (attempt - 1).min(10)).min(LONGEST)
}

/// Whether (and after how long) an answer is asked for again; none: it is the answer.
pub(super) fn after_reply(repeatable: bool, status: u16, headers: &HeaderMap, attempt: u32) -> Option<Duration> {
    let again = match status {
        // Refused at the door: nothing was done, whatever the verb.
        429 => true,
        408 | 500 | 502 | 503 | 504 => repeatable,
        _ => false,
    };
    again.then(|| asked(headers).unwrap_or_else(|| backoff(attempt)))
}

/// Whether a request whose connection broke may be sent again.
pub(super) fn after_break(repeatable: bool, error: &reqwest::Error) -> bool {
    error.is_connect() || (repeatable && !error.is_builder())
}

/// Attempts that such a failure is worth: an address that swallows connections takes the whole time of each.
pub(super) fn most(error: &reqwest::Error) -> u32 {
    if error.is_connect() && error.is_timeout() { 2 } else { u32::MAX }
}

/// `Retry-After`, in seconds or as a date; a date is counted from the answer's own `Date`, whatever our clock says.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_ASKED));
    }
    let date = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
    let end = date(text)?;
    let now =
        headers.get("date").and_then(|value| date(value.to_str().ok()?)).unwrap_or_else(|| chrono::Utc::now().into());
    Some((end - now).to_std().unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        assert_eq!(asked(&headers(&[("retry-after", "17")])), Some(Duration::from_secs(17)));
        let dates = [("retry-after", "Thu, 01 Jan 2026 00:00:30 GMT"), ("date", "Thu, 01 Jan 2026 00:00:10 GMT")];
        assert_eq!(asked(&headers(&dates)), Some(Duration::from_secs(20)));
        let past = [("retry-after", "Thu, 01 Jan 2026 00:00:00 GMT"), ("date", "Thu, 01 Jan 2026 00:00:10 GMT")];
        assert_eq!(asked(&headers(&past)), Some(Duration::ZERO));
        assert_eq!(asked(&headers(&[("retry-after", "soon")])), None);
        assert_eq!(asked(&headers(&[("retry-after", "999999")])), Some(LONGEST_ASKED));
    }

    #[test]
    fn only_what_may_be_repeated_is_repeated() {
        let none = HeaderMap::new();
        let rows = [
            (true, 408, true),
            (true, 500, true),
            (true, 503, true),
            (false, 503, false),
            (false, 429, true),
            (true, 409, false),
            (true, 404, false),
            (true, 200, false),
        ];
        for (repeatable, status, again) in rows {
            assert_eq!(after_reply(repeatable, status, &none, 1).is_some(), again, "{repeatable} {status}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_a_minute() {
        let seconds: Vec<u64> = (1..9).map(|attempt| backoff(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
