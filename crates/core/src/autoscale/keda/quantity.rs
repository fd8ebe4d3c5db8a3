//! Kubernetes quantities as KEDA reads and writes them.
//!
//! Upstream: `k8s.io/apimachinery/pkg/api/resource`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::{fmt, str::FromStr};

const NANO: i128 = 1_000_000_000;
const NANO_DIGITS: i32 = 9;
/// Suffixes and the powers of ten that they stand for.
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];
/// Suffixes and the powers of two that they stand for.
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
/// More digits are beyond upstream's quick way of reading.
const QUICK_DIGITS: usize = 18;

/// How an amount was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    /// As in `12e6`.
    Exponent,
    Binary,
}

/// An exact amount; two of them are equal when their values are.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

/// Text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity")]
pub struct QuantityError(String);

impl Quantity {
    /// A whole number.
    pub fn from_int(value: i64) -> Self {
        Self { nano: i128::from(value) * NANO, format: Format::Decimal }
    }

    /// Thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1000), format: Format::Decimal }
    }

    /// A float with three decimals, as `printf("%.3f")` rounds; what is negative, infinite or not a number is 0.
    pub fn from_float(value: f64) -> Self {
        if !value.is_finite() || value < 0.0 {
            return Self::from_int(0);
        }
        // Beyond the range of the exact amount there is no such metric: the greatest one stands for it.
        let thousandths = format!("{value:.3}").replace('.', "").parse::<i128>();
        let nano = thousandths.ok().and_then(|milli| milli.checked_mul(NANO / 1000)).unwrap_or(i128::MAX);
        Self { nano, format: Format::Decimal }
    }

    /// The text that upstream writes for such a float: that with three decimals, or the canonical one.
    pub fn spelled_float(value: f64) -> String {
        let quantity = Self::from_float(value);
        let text = format!("{value:.3}");
        if quantity.nano > 0 && keeps_spelling(&text) { text } else { quantity.to_string() }
    }

    /// The text that upstream writes for one that it read: as given where that looks canonical to it.
    pub fn spelled(text: &str) -> Result<String, QuantityError> {
        let quantity: Self = text.parse()?;
        Ok(if keeps_spelling(text) { text.to_owned() } else { quantity.to_string() })
    }

    /// Thousandths, rounded up, within the range of an `i64`.
    pub fn milli(self) -> i64 {
        let unit = NANO / 1000;
        let up = self.nano.div_euclid(unit) + i128::from(self.nano.rem_euclid(unit) != 0);
        up.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Whether it is more than nothing.
    pub fn is_positive(self) -> bool {
        self.nano > 0
    }

    /// The float that upstream computes with for the text of a decimal one: its digits times the power of ten of the
    /// last, which is not always the nearest float.
    pub fn float(text: &str) -> Result<f64, QuantityError> {
        let quantity: Self = text.parse()?;
        let (number, suffix) = split(text);
        let fraction = number.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
        let digits = number.replace('.', "").parse::<f64>().ok();
        Ok(match (digits, power(suffix)) {
            (Some(digits), Some((_, power))) => digits * 10_f64.powi(power - fraction),
            _ => quantity.nano as f64 / NANO as f64,
        })
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError(text.to_owned());
        let (number, suffix) = split(text);
        let (format, unit) = match (BINARY.iter().find(|(name, _)| *name == suffix), power(suffix)) {
            (Some((_, shift)), _) => (Format::Binary, NANO << shift),
            (None, Some((format, power))) => {
                let nanos = u32::try_from(power + NANO_DIGITS).map_err(|_| error())?;
                (format, 10_i128.checked_pow(nanos).ok_or_else(error)?)
            }
            (None, None) => return Err(error()),
        };
        let nano = scaled(number, unit).ok_or_else(error)?;
        Ok(Self { nano, format })
    }
}

/// Number and suffix.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len()))
}

/// The power of ten of a suffix.
fn power(suffix: &str) -> Option<(Format, i32)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Format::Decimal, *power));
    }
    let power: i16 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Format::Exponent, power.into()))
}

/// Whether upstream takes the text of a quantity for canonical and hands it on as it is.
fn keeps_spelling(text: &str) -> bool {
    let (number, suffix) = split(text.trim_start_matches(['+', '-']).trim_start_matches('0'));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() {
        return false;
    }
    let digits = format!("{whole}{fraction}");
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        let quick = fraction.is_empty() && whole.len() + (shift * 3 / 10) as usize <= 14;
        return quick && digits.parse::<i64>().is_ok_and(|value| value % 8 != 0);
    }
    let scale = power(suffix).map(|(_, power)| power - fraction.len() as i32);
    scale.is_some_and(|scale| scale >= -NANO_DIGITS && scale % 3 == 0)
        && digits.len() <= QUICK_DIGITS
        && !digits.ends_with("000")
}

/// `number * unit`, fractions of a nano rounded up.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) || fraction.len() > 18 {
        return None;
    }
    let parse = |part: &str| if part.is_empty() { Some(0) } else { part.parse::<i128>().ok() };
    let ten = 10_i128.pow(fraction.len() as u32);
    let product = parse(fraction)?.checked_mul(unit)?;
    let small = product / ten + i128::from(product % ten != 0);
    Some(sign * parse(whole)?.checked_mul(unit)?.checked_add(small)?)
}

impl fmt::Display for Quantity {
    /// The canonical text: the largest suffix that leaves an integer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        // With a fraction, binary quantities too are written by the decimal suffixes.
        if self.format == Format::Binary && self.nano.abs() >= NANO * 1024 && self.nano % NANO == 0 {
            let whole = self.nano / NANO;
            return match BINARY.iter().find(|(_, shift)| whole % (1_i128 << shift) == 0) {
                Some((suffix, shift)) => write!(f, "{}{suffix}", whole >> shift),
                None => write!(f, "{whole}"),
            };
        }
        let greatest = if self.format == Format::Exponent { 27 } else { 18 };
        let mut power = greatest;
        while self.nano % 10_i128.pow((power + NANO_DIGITS) as u32) != 0 {
            power -= 3;
        }
        let number = self.nano / 10_i128.pow((power + NANO_DIGITS) as u32);
        match DECIMAL.iter().find(|(_, of)| *of == power).filter(|_| self.format != Format::Exponent || power == 0) {
            Some((suffix, _)) => write!(f, "{number}{suffix}"),
            None => write!(f, "{number}e{power}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_leave_integers() {
        let texts: Vec<_> = [250, 1_000_000, 1_500_000, 0, 100_000].map(|m| Quantity::from_milli(m).to_string()).into();
        assert_eq!(texts, ["250m", "1k", "1500", "0", "100"]);
        let floats: Vec<_> = [0.0004, 0.25, -4.0, f64::NAN, 1e18].map(|v| Quantity::from_float(v).to_string()).into();
        assert_eq!(floats, ["0", "250m", "0", "0", "1E"]);
    }

    #[test]
    fn a_binary_text_stays_binary() {
        let canonical = |text: &str| text.parse::<Quantity>().map(|quantity| quantity.to_string());
        assert_eq!(canonical("1.5Gi").as_deref(), Ok("1536Mi"));
        assert_eq!(canonical("512Mi").as_deref(), Ok("512Mi"));
        assert_eq!(canonical("1000").as_deref(), Ok("1k"));
        assert_eq!(canonical("1500e3").as_deref(), Ok("1500e3"));
        assert_eq!(canonical("-5").as_deref(), Ok("-5"));
        for wrong in ["", "80%", "1.2.3", "x", "1 Gi", "--1"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
        // As apimachinery v0.36.4 marshals what it parsed.
        for kept in ["12e6", "+5", "007", "100.500", "1500m", "1Gi", "100Mi", "-1"] {
            assert_eq!(Quantity::spelled(kept).as_deref(), Ok(kept));
        }
        let respelled = [
            ("1000e3", "1e6"),
            ("12e5", "1200e3"),
            ("1024Ki", "1Mi"),
            ("1.1Mi", "1153433600m"),
            ("1.25", "1250m"),
            ("00", "0"),
        ];
        for (text, canonical) in respelled {
            assert_eq!(Quantity::spelled(text).as_deref(), Ok(canonical));
        }
        let floats = [100.5, 0.25, 100.0, -1.0, 12.001].map(Quantity::spelled_float);
        assert_eq!(floats, ["100.500", "250m", "100", "0", "12.001"]);
        assert_eq!("0.25".parse::<Quantity>(), Ok(Quantity::from_milli(250)));
    }
}
