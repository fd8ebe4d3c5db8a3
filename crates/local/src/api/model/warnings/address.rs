//! Addresses that are written in an unusual way.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/util/validation/ip.go>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, and whether it has leading zeros, which only old parsers take.
fn parse(value: &str) -> Option<(IpAddr, bool)> {
    if let Ok(address) = value.parse() {
        return Some((address, false));
    }
    let parts: Option<Vec<u8>> = value.split('.').map(|part| part.parse().ok()).collect();
    let parts: [u8; 4] = parts?.try_into().ok()?;
    Some((Ipv4Addr::from(parts).into(), true))
}

fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        four @ IpAddr::V4(_) => four,
    }
}

/// About an address.
pub(super) fn ip(at: &str, value: &str) -> Option<String> {
    let (address, sloppy) = parse(value)?;
    let usual = plain(address);
    if sloppy || usual != address {
        return Some(format!(
            "{at}: non-standard IP address \"{value}\" will be considered invalid in a future Kubernetes release: use \"{usual}\""
        ));
    }
    (address.is_ipv6() && address.to_string() != value)
        .then(|| format!("{at}: IPv6 address \"{value}\" should be in RFC 5952 canonical format (\"{address}\")"))
}

/// About a block of addresses.
pub(super) fn cidr(at: &str, value: &str) -> Vec<String> {
    let Some((address, length)) = value.split_once('/') else { return Vec::new() };
    let (Some((address, sloppy)), Ok(length)) = (parse(address), length.parse::<u32>()) else { return Vec::new() };
    let (size, first) = match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            (32, IpAddr::V4(Ipv4Addr::from(u32::from(four) & mask)))
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            (128, IpAddr::V6(Ipv6Addr::from(u128::from(six) & mask)))
        }
    };
    let mut told = Vec::new();
    if first != address {
        told.push(format!("{at}: CIDR value \"{value}\" is ambiguous in this context (should be \"{first}/{length}\" or \"{address}/{size}\"?)"));
    }
    if sloppy || plain(address) != address {
        told.push(format!("{at}: non-standard CIDR value \"{value}\" will be considered invalid in a future Kubernetes release: use \"{first}/{length}\""));
    }
    let usual = format!("{address}/{length}");
    if told.is_empty() && address.is_ipv6() && usual != value {
        told.push(format!("{at}: IPv6 CIDR value \"{value}\" should be in RFC 5952 canonical format (\"{usual}\")"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_addresses_are_told() {
        for (value, wanted) in
            [("10.0.0.1", 0), ("010.0.0.1", 1), ("::ffff:1.2.3.4", 1), ("fe80::1", 0), ("FE80::0:1", 1), ("x", 0)]
        {
            assert_eq!(ip("a", value).iter().count(), wanted, "{value}");
        }
        for (value, wanted) in
            [("10.0.0.0/8", 0), ("10.0.0.1/8", 1), ("010.0.0.1/8", 2), ("fe80::/64", 0), ("FE80::/64", 1)]
        {
            assert_eq!(cidr("a", value).len(), wanted, "{value}");
        }
    }
}
