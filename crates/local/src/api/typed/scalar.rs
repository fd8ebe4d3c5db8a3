//! Plain values: numbers with their ranges, bytes, quantities, times.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::Type;

/// Why a value is not of its type.
pub(super) enum Failure {
    /// The value, and the type that was wanted.
    Type(Value, &'static str),
    /// It is of the type, but cannot be read.
    Text(String),
}

/// Reads a plain value; null is zero.
pub(super) fn read(kind: &Type, value: Value) -> Result<Value, Failure> {
    match (kind, value) {
        (Type::Text, Value::Null) => Ok(json!("")),
        (Type::Bool, Value::Null) => Ok(json!(false)),
        (Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString, Value::Null) => Ok(json!(0)),
        (Type::Quantity, Value::Null) => Ok(json!("0")),
        (Type::Time | Type::MicroTime, Value::Null) => Ok(Value::Null),
        (Type::Text | Type::IntOrString, value @ Value::String(_))
        | (Type::Bool, value @ Value::Bool(_))
        | (Type::Float, value @ Value::Number(_)) => Ok(value),
        (Type::Int64, value) if value.is_i64() => Ok(value),
        (Type::Int32 | Type::IntOrString, value) if fits_int32(&value) => Ok(value),
        (Type::Bytes, Value::String(text)) => match STANDARD.decode(text.replace(['\n', '\r'], "")) {
            Ok(bytes) => Ok(json!(STANDARD.encode(bytes))),
            Err(_) => Err(Failure::Text("illegal base64 data at input byte 0".to_owned())),
        },
        (Type::Quantity, Value::String(text)) => quantity(&text).map(Value::String).ok_or_else(not_a_quantity),
        (Type::Quantity, Value::Number(number)) => {
            quantity(&number.to_string()).map(Value::String).ok_or_else(not_a_quantity)
        }
        (Type::Time | Type::MicroTime, Value::String(text)) => time(kind, &text),
        (Type::Int64, value) => Err(Failure::Type(value, "int64")),
        (Type::Int32 | Type::IntOrString, value) => Err(Failure::Type(value, "int32")),
        (Type::Bool, value) => Err(Failure::Type(value, "bool")),
        (Type::Float, value) => Err(Failure::Type(value, "float64")),
        (_, value) => Err(Failure::Type(value, "string")),
    }
}

fn fits_int32(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

fn not_a_quantity() -> Failure {
    let rule = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";
    Failure::Text(format!("quantities must match the regular expression '{rule}'"))
}

fn time(kind: &Type, text: &str) -> Result<Value, Failure> {
    let read = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let micro = matches!(kind, Type::MicroTime);
    // Go's layout of MicroTime wants six digits where there is a fraction at all.
    let digits = text.split_once('.').map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).count());
    match read {
        Ok(time) if !micro => Ok(json!(time.to_rfc3339_opts(SecondsFormat::Secs, true))),
        Ok(time) if digits.is_none_or(|digits| digits >= 6) && digits.is_some() => {
            Ok(json!(time.to_rfc3339_opts(SecondsFormat::Micros, true)))
        }
        _ => Err(Failure::Text(format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse"))),
    }
}

/// A quantity in canonical form: no fraction, the largest suffix that keeps it whole.
/// <https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity>
pub(crate) fn quantity(text: &str) -> Option<String> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 10] =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = &rest[..rest.find(|c| !digits(c)).unwrap_or(rest.len())];
    let suffix = &rest[number.len()..];
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let exponent = |text: &str| text.strip_prefix(['e', 'E']).and_then(|text| text.parse::<i32>().ok());
    let sign = if negative { "-" } else { "" };
    // In units of 10^-9, rounded away from zero, as upstream caps its scale.
    let nano = |power: i32| -> Option<i128> {
        let fraction = fraction.trim_end_matches('0');
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let shift = power + 9 - i32::try_from(fraction.len()).ok()?;
        let scale = 10_i128.checked_pow(shift.unsigned_abs())?;
        if shift >= 0 {
            mantissa.checked_mul(scale)
        } else {
            Some(mantissa / scale + i128::from(mantissa % scale != 0))
        }
    };
    if let Some(at) = BINARY.iter().position(|known| *known == suffix) {
        let unit = 1_i128 << (10 * (at + 1));
        let value = nano(0)?.checked_mul(unit)?;
        if value % 1_000_000_000 != 0 {
            return Some(format!("{sign}{}", decimal(value, &DECIMAL)));
        }
        let mut value = value / 1_000_000_000;
        if value == 0 {
            return Some("0".to_owned());
        }
        // Below 1024 a binary quantity is written as a decimal one.
        let mut power = 0;
        while value % 1024 == 0 && power < BINARY.len() {
            value /= 1024;
            power += 1;
        }
        let suffix = power.checked_sub(1).map_or("", |at| BINARY[at]);
        return Some(format!("{sign}{value}{suffix}"));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        let value = nano(*power)?;
        return Some(if value == 0 { "0".to_owned() } else { format!("{sign}{}", decimal(value, &DECIMAL)) });
    }
    let power = exponent(suffix)?;
    let value = nano(power)?;
    if value == 0 {
        return Some("0".to_owned());
    }
    let (mut value, mut power) = (value, -9);
    while value % 1000 == 0 {
        value /= 1000;
        power += 3;
    }
    Some(if power == 0 { format!("{sign}{value}") } else { format!("{sign}{value}e{power}") })
}

fn decimal(mut nano: i128, suffixes: &[(&str, i32)]) -> String {
    let mut at = 0;
    while nano % 1000 == 0 && at + 1 < suffixes.len() {
        nano /= 1000;
        at += 1;
    }
    format!("{nano}{}", suffixes[at].0)
}

/// A quantity as a number: exact for what people write.
pub(crate) fn amount_of(text: &str) -> Option<f64> {
    let canonical = quantity(text)?;
    let digits = canonical.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(canonical.len());
    let number: f64 = canonical[..digits].parse().ok()?;
    let factor = match &canonical[digits..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => 10_f64.powi(exponent.strip_prefix('e')?.parse().ok()?),
    };
    Some(number * factor)
}

/// The same of a member.
pub(crate) fn amount(value: &Value) -> Option<f64> {
    amount_of(value.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::{amount_of, quantity};

    #[test]
    fn quantities() {
        let rows = [
            ("0.5", Some("500m")),
            ("1.5", Some("1500m")),
            ("500m", Some("500m")),
            ("1000m", Some("1")),
            ("1000", Some("1k")),
            ("1024Mi", Some("1Gi")),
            ("0.5Gi", Some("512Mi")),
            ("1000Mi", Some("1000Mi")),
            ("0", Some("0")),
            ("1e3", Some("1e3")),
            ("12e2", Some("1200")),
            ("-2", Some("-2")),
            ("1.5Ki", Some("1536")),
            (".5", Some("500m")),
            ("2.", Some("2")),
            ("0.1Ki", Some("102400m")),
            ("x", None),
            ("1x", None),
            ("", None),
            ("1..2", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(quantity(text).as_deref(), wanted, "{text}");
        }
        assert!(amount_of("1Gi") > amount_of("1G") && amount_of("500m") < amount_of("1"));
    }
}
