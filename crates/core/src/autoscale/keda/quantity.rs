//! Kubernetes quantities as KEDA reads and writes them.
//!
//! Upstream: `k8s.io/apimachinery/pkg/api/resource`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::{fmt, str::FromStr};

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i128); 10] = [
    ("E", NANO * 1_000_000_000_000_000_000),
    ("P", NANO * 1_000_000_000_000_000),
    ("T", NANO * 1_000_000_000_000),
    ("G", NANO * 1_000_000_000),
    ("M", NANO * 1_000_000),
    ("k", NANO * 1000),
    ("", NANO),
    ("m", 1_000_000),
    ("u", 1000),
    ("n", 1),
];
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

/// An exact amount; two of them are equal when their values are.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    binary: bool,
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
        Self { nano: i128::from(value) * NANO, binary: false }
    }

    /// Thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self { nano: i128::from(milli) * (NANO / 1000), binary: false }
    }

    /// A float with three decimals, as `printf("%.3f")` rounds; what is negative, infinite or not a number is 0.
    pub fn from_float(value: f64) -> Self {
        if !value.is_finite() || value < 0.0 {
            return Self::from_int(0);
        }
        // Beyond the range of the exact amount there is no such metric: the greatest one stands for it.
        let thousandths = format!("{value:.3}").replace('.', "").parse::<i128>();
        let nano = thousandths.ok().and_then(|milli| milli.checked_mul(NANO / 1000)).unwrap_or(i128::MAX);
        Self { nano, binary: false }
    }

    /// Thousandths, rounded up, within the range of an `i64`.
    pub fn milli(self) -> i64 {
        let unit = NANO / 1000;
        let up = self.nano.div_euclid(unit) + i128::from(self.nano.rem_euclid(unit) != 0);
        up.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// The nearest float.
    pub fn to_float(self) -> f64 {
        self.nano as f64 / NANO as f64
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError(text.to_owned());
        let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let binary = BINARY.iter().find(|(name, _)| *name == suffix).map(|(_, shift)| NANO << shift);
        let decimal = || DECIMAL.iter().find(|(name, _)| *name == suffix).map(|(_, unit)| *unit);
        let exponent = || {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let unit = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { Some(NANO / unit).filter(|unit| *unit > 0) } else { NANO.checked_mul(unit) }
        };
        let unit = binary.or_else(decimal).or_else(exponent).ok_or_else(error)?;
        let nano = scaled(number, unit).ok_or_else(error)?;
        Ok(Self { nano, binary: binary.is_some() })
    }
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
        if self.binary && self.nano.abs() >= NANO * 1024 {
            // Upstream's binary quantities have no fractions: they are rounded up.
            let whole = self.nano.div_euclid(NANO) + i128::from(self.nano.rem_euclid(NANO) != 0);
            return match BINARY.iter().find(|(_, shift)| whole % (1_i128 << shift) == 0) {
                Some((suffix, shift)) => write!(f, "{}{suffix}", whole >> shift),
                None => write!(f, "{whole}"),
            };
        }
        match DECIMAL.iter().find(|(_, unit)| self.nano % unit == 0) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.nano / unit),
            None => write!(f, "{}n", self.nano),
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
        assert_eq!(canonical("1e3").as_deref(), Ok("1k"));
        assert_eq!(canonical("-5").as_deref(), Ok("-5"));
        for wrong in ["", "80%", "1.2.3", "x", "1 Gi", "--1"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
        assert_eq!("0.25".parse::<Quantity>(), Ok(Quantity::from_milli(250)));
    }
}
