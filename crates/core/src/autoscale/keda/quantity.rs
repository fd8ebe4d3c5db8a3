//! Kubernetes quantities as KEDA writes them.

/// A float as milli-units with three decimals; what is negative or not a number is 0.
pub fn float_milli(value: f64) -> i64 {
    if !value.is_finite() || value < 0.0 {
        return 0;
    }
    // As `printf("%.3f")`: rounded to three decimals, half to even on the exact binary value.
    format!("{value:.3}").replace('.', "").parse().unwrap_or(i64::MAX)
}

/// The canonical text of milli-units: the largest decimal suffix that leaves an integer.
pub fn text(milli: i64) -> String {
    if milli % 1000 != 0 {
        return format!("{milli}m");
    }
    let (mut value, mut suffix) = (milli / 1000, "");
    for next in ["k", "M", "G", "T", "P", "E"] {
        if value == 0 || value % 1000 != 0 {
            break;
        }
        (value, suffix) = (value / 1000, next);
    }
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_leave_integers() {
        let texts: Vec<_> = [250, 1_000_000, 1_500_000, 0, 100_000].map(text).into();
        assert_eq!(texts, ["250m", "1k", "1500", "0", "100"]);
        assert_eq!([float_milli(0.0004), float_milli(0.25), float_milli(-4.0), float_milli(f64::NAN)], [0, 250, 0, 0]);
    }
}
