//! Formats of strings that structural schemas may ask for.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go>

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;

/// A pattern that is known to be one.
macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a constant pattern"));
    };
}

pattern!(EMAIL, r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)*$");
pattern!(HOSTNAME, r"^([A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$");
pattern!(MAC, r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2})$");
pattern!(UUID, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(URI, r"^[A-Za-z][A-Za-z0-9+.-]*:\S*$");
pattern!(DURATION, r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w)\s*)+$");
pattern!(HEX_COLOUR, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(RGB_COLOUR, r"^rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)$");
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(LABEL, r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$");

/// Whether a text has a format; those that upstream does not know hold everything.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "date" => chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok(),
        "duration" => DURATION.is_match(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "email" => EMAIL.is_match(text),
        "hostname" => text.len() <= 253 && HOSTNAME.is_match(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => MAC.is_match(text),
        "uri" => URI.is_match(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => UUID.is_match(text),
        "hexcolor" => HEX_COLOUR.is_match(text),
        "rgbcolor" => RGB_COLOUR.is_match(text),
        "ssn" => SSN.is_match(text),
        "k8s-short-name" => LABEL.is_match(text),
        _ => true,
    }
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn formats() {
        let rows = [
            ("date-time", "2020-01-01T00:00:00Z", "2020-01-01"),
            ("date", "2020-02-29", "2021-02-29"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("uuid", "11111111-2222-4333-8444-555555555555", "1111"),
            ("email", "a@b.test", "a.b.test"),
            ("uri", "https://b.test/x", "b.test"),
            ("byte", "AAEC", "!"),
            ("duration", "1h30m", "soon"),
            ("hostname", "a-b.test", "-a"),
        ];
        for (format, right, wrong) in rows {
            assert!(fits(format, right), "{format} {right}");
            assert!(!fits(format, wrong), "{format} {wrong}");
        }
        assert!(fits("made-up", "anything"));
    }
}
