//! Kubernetes quantities and Go-like durations: the units in which profiles, manifests and reports speak.
//!
//! Owns parsing and formatting only. Quantities follow
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>, durations Go's
//! [`time.ParseDuration`](https://pkg.go.dev/time#ParseDuration) without signs.

use std::{
    borrow::Cow,
    fmt,
    iter::Sum,
    ops::{Add, Sub},
    str::FromStr,
    time::Duration,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a quantity or a duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing there.
    #[error("the text is empty")]
    Empty,
    /// No number at the start.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// A suffix that the unit does not know.
    #[error("`{suffix}` is not a unit of {of}")]
    Suffix {
        /// What stood behind the number.
        suffix: String,
        /// `cpu`, `memory`, `time`.
        of: &'static str,
    },
    /// A number without the unit that it needs.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// Too large for 64 bits, or negative.
    #[error("`{0}` is out of range")]
    Range(String),
}

/// Thousandths of a CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millicores(pub i64);

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub i64);

impl Millicores {
    /// Reads `500m`, `4`, `0.5`, `2k`; rounds up to a whole milli as Kubernetes does.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let micro = parse_scaled(text, "cpu", 1_000)?;
        Ok(Self(micro))
    }

    /// As CPUs.
    pub fn cpus(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl Bytes {
    /// One KiB.
    pub const KIB: Self = Self(1 << 10);
    /// One MiB.
    pub const MIB: Self = Self(1 << 20);
    /// One GiB.
    pub const GIB: Self = Self(1 << 30);

    /// Reads `1Gi`, `512Mi`, `100M`, `1048576`, `128974848000m`; rounds up to a whole byte.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        parse_scaled(text, "memory", 1).map(Self)
    }

    /// As GiB.
    pub fn gib(self) -> f64 {
        self.0 as f64 / Self::GIB.0 as f64
    }
}

/// Reads a quantity and multiplies it by `unit`, rounding up; `of` names it in errors.
fn parse_scaled(text: &str, of: &'static str, unit: i128) -> Result<i64, UnitError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let range = || UnitError::Range(text.to_owned());
    let digits: i128 = format!("0{whole}{fraction}").parse().map_err(|_| range())?;
    let (up, down) = scale(suffix).ok_or_else(|| UnitError::Suffix { suffix: suffix.to_owned(), of })?;
    let places = u32::try_from(fraction.len()).map_err(|_| range())?;
    let divisor = 10_i128.checked_pow(places).and_then(|p| p.checked_mul(down)).ok_or_else(range)?;
    let value = digits.checked_mul(up).and_then(|v| v.checked_mul(unit)).ok_or_else(range)?;
    i64::try_from((value + divisor - 1) / divisor).map_err(|_| range())
}

/// Multiplier and divisor of a quantity's suffix, decimal exponents (`1e3`, `12E`) included.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    const TABLE: [(&str, i128, i128); 16] = [
        ("", 1, 1),
        ("n", 1, 1_000_000_000),
        ("u", 1, 1_000_000),
        ("m", 1, 1_000),
        ("k", 1_000, 1),
        ("M", 1_000_000, 1),
        ("G", 1_000_000_000, 1),
        ("T", 1_000_000_000_000, 1),
        ("P", 1_000_000_000_000_000, 1),
        ("E", 1_000_000_000_000_000_000, 1),
        ("Ki", 1 << 10, 1),
        ("Mi", 1 << 20, 1),
        ("Gi", 1 << 30, 1),
        ("Ti", 1 << 40, 1),
        ("Pi", 1 << 50, 1),
        ("Ei", 1 << 60, 1),
    ];
    if let Some((_, up, down)) = TABLE.iter().find(|(name, ..)| *name == suffix) {
        return Some((*up, *down));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

impl fmt::Display for Millicores {
    /// Canonical form: `4` for whole CPUs, else `500m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 == 0 { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl fmt::Display for Bytes {
    /// Canonical form: the largest binary suffix that divides it, such as `1Gi` or `1536Mi`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut step) = (self.0, 0);
        let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        while value != 0 && value % 1024 == 0 && step + 1 < suffixes.len() {
            value /= 1024;
            step += 1;
        }
        write!(f, "{value}{}", suffixes[step])
    }
}

macro_rules! quantity {
    ($type:ident, $format:literal, $example:literal) => {
        impl FromStr for $type {
            type Err = UnitError;
            fn from_str(text: &str) -> Result<Self, UnitError> {
                Self::parse(text)
            }
        }
        impl Add for $type {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl Sub for $type {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl Sum for $type {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self(0), Add::add)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::parse(&Cow::<str>::deserialize(from)?).map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "examples": [$example] })
            }
        }
    };
}

quantity!(Millicores, "cpu", "500m");
quantity!(Bytes, "memory", "1Gi");

/// A length of time written as Go writes it (`1m30s`); serialises as that text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parse_duration(&Cow::<str>::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "go-duration", "examples": ["30s", "1m30s", "500ms"] })
    }
}

/// Serde for a `Duration` as Go text: `#[serde(with = "democtl_core::units::go_duration")]`.
pub mod go_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Span, format_duration};

    /// Writes `1m30s`.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*duration))
    }

    /// Reads `1m30s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Span::deserialize(from).map(|span| span.0)
    }
}

/// Reads `1h30m`, `1m30s`, `1.5s`, `500ms`, `0`; a number without a unit is an error, except 0.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let whole = text.trim();
    if whole.is_empty() {
        return Err(UnitError::Empty);
    }
    if whole == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = whole;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| UnitError::NoNumber(rest.to_owned()))?;
        let after = &rest[end..];
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let seconds = match after[..end].trim() {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(UnitError::NoUnit(whole.to_owned())),
            other => return Err(UnitError::Suffix { suffix: other.to_owned(), of: "time" }),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| UnitError::Range(whole.to_owned()))?;
        total = total.checked_add(part).ok_or_else(|| UnitError::Range(whole.to_owned()))?;
        rest = &after[end..];
    }
    Ok(total)
}

/// Writes a duration as short as it goes: `1h30m`, `1m30s`, `1.5s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanos > 0 {
        return if nanos >= 1_000_000 {
            fraction(f64::from(nanos) / 1e6, "ms")
        } else {
            fraction(f64::from(nanos) / 1e3, "us")
        };
    }
    let part = |value: u64, unit: &str| if value > 0 { format!("{value}{unit}") } else { String::new() };
    let whole = part(seconds / 3600, "h") + &part(seconds / 60 % 60, "m");
    if nanos > 0 {
        return whole + &fraction((seconds % 60) as f64 + f64::from(nanos) / 1e9, "s");
    }
    let rest = part(seconds % 60, "s");
    if seconds == 0 { "0s".to_owned() } else { whole + &rest }
}

fn fraction(value: f64, unit: &str) -> String {
    let text = format!("{value:.9}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::{Bytes, Duration, Millicores, UnitError, format_duration, parse_duration};

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        for (text, milli) in [("500m", 500), ("4", 4000), ("0.5", 500), (".25", 250), ("1500u", 2), ("2k", 2_000_000)] {
            assert_eq!(Millicores::parse(text).unwrap(), Millicores(milli), "{text}");
        }
        for (text, bytes) in [("1Gi", 1 << 30), ("1.5Gi", 3 << 29), ("100M", 100_000_000), ("1e3", 1000), ("1500m", 2)]
        {
            assert_eq!(Bytes::parse(text).unwrap(), Bytes(bytes), "{text}");
        }
        assert_eq!(Bytes::parse("12E").unwrap_err(), UnitError::Range("12E".into()));
        assert_eq!(Bytes::parse("8E").unwrap(), Bytes(8_000_000_000_000_000_000));
        assert!(matches!(Millicores::parse("2 cores").unwrap_err(), UnitError::Suffix { of: "cpu", .. }));
        assert!(matches!(Bytes::parse("-1").unwrap_err(), UnitError::NoNumber(_)));
        assert!(matches!(Bytes::parse("1.2.3").unwrap_err(), UnitError::NoNumber(_)));
    }

    #[test]
    fn durations_read_and_write_as_go_does() {
        for (text, millis, back) in [
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1.5s", 1_500, "1.5s"),
            ("500ms", 500, "500ms"),
            ("1h", 3_600_000, "1h"),
            ("0", 0, "0s"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(duration), back);
        }
        assert_eq!(parse_duration("30").unwrap_err(), UnitError::NoUnit("30".into()));
        assert!(matches!(parse_duration("5 min").unwrap_err(), UnitError::Suffix { of: "time", .. }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn quantities_survive_a_round_trip(value in 0_i64..=i64::MAX / 2048) {
            assert_eq!(Millicores::parse(&Millicores(value).to_string()).unwrap(), Millicores(value));
            assert_eq!(Bytes::parse(&Bytes(value).to_string()).unwrap(), Bytes(value));
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = (Bytes::parse(&text), Millicores::parse(&text), parse_duration(&text));
        }

        #[test]
        fn durations_survive_a_round_trip(millis in 0_u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            let back = parse_duration(&format_duration(duration)).unwrap();
            assert!(back.abs_diff(duration) < Duration::from_micros(1));
        }
    }
}
