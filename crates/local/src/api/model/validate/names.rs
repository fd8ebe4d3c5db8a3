//! Names: what `k8s.io/apimachinery/pkg/util/validation` says of them. Each answers what is wrong.

use super::errors::Errors;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn longest(text: &str, most: usize) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} characters"))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    text.starts_with(lower) && text.ends_with(lower) && text.chars().all(|c| lower(c) || c == '-')
}

/// RFC 1123 labels: names of namespaces, containers, volumes.
pub(in super::super) fn label(text: &str) -> Vec<String> {
    let wrong = (!is_label(text)).then(|| LABEL.to_owned());
    longest(text, 63).into_iter().chain(wrong).collect()
}

/// RFC 1035 labels: names of Services.
pub(super) fn label_1035(text: &str) -> Vec<String> {
    let fits = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    longest(text, 63).into_iter().chain((!fits).then(|| LABEL_1035.to_owned())).collect()
}

/// RFC 1123 subdomains: names of most objects.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let wrong = (!text.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned());
    longest(text, 253).into_iter().chain(wrong).collect()
}

/// Names that may stand in a path: those of roles.
pub(super) fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    let found = ["/", "%"].into_iter().filter(|part| text.contains(part));
    found.map(|part| format!("may not contain '{part}'")).collect()
}

/// Keys of labels and annotations: `prefix/name`.
pub(crate) fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            }
            *name
        }
        _ => {
            return vec![format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(longest(name, 63).map(|why| format!("name part {why}")));
    if !is_plain(name) {
        wrong.push(QUALIFIED.to_owned());
    }
    wrong
}

fn is_plain(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

/// Values of labels.
pub(crate) fn label_value(text: &str) -> Vec<String> {
    let wrong = (!text.is_empty() && !is_plain(text)).then(|| LABEL_VALUE.to_owned());
    longest(text, 63).into_iter().chain(wrong).collect()
}

/// Keys of `ConfigMap`s and Secrets.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong: Vec<String> = longest(text, 253).into_iter().collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(plain) {
        wrong.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    if text == "." || text == ".." {
        wrong.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// Names of environment variables.
pub(super) fn environment(text: &str) -> Vec<String> {
    let plain = |c: char| (' '..='~').contains(&c) && c != '=';
    if text.chars().all(plain) {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Names of ports.
pub(super) fn port(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters".to_owned());
    }
    if text.is_empty() || !text.chars().all(|c| lower(c) || c == '-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.chars().any(|c| c.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// HTTP header names.
pub(super) fn header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Vec::new();
    }
    vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".to_owned()]
}

/// `domain/path`, both of them there.
pub(super) fn domain_path(text: &str) -> Vec<String> {
    match text.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:/".contains(c);
            let wrong = (!path.chars().all(plain)).then(|| "Invalid path".to_owned());
            subdomain(domain).into_iter().chain(wrong).collect()
        }
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()],
    }
}

/// An IP address; leading zeros are read as decimal, as upstream still does where it did before.
pub(super) fn ip(text: &str) -> Option<std::net::IpAddr> {
    text.parse().ok().or_else(|| {
        let parts = text.split('.').map(|part| part.parse::<u8>().ok().filter(|_| !part.starts_with('+')));
        let parts: Vec<u8> = parts.collect::<Option<_>>()?;
        Some(std::net::IpAddr::from(<[u8; 4]>::try_from(parts).ok()?))
    })
}

/// A block of addresses, `address/bits`.
pub(super) fn is_block(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = if address.contains(':') { 128 } else { 32 };
    ip(address).is_some() && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Why an address cannot be one that is shared with other machines.
pub(super) fn not_special(ip: std::net::IpAddr) -> Option<&'static str> {
    let link_local = match ip {
        std::net::IpAddr::V4(ip) => ip.is_link_local() || (ip.is_multicast() && ip.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0) == 0xfe80 || ip.segments()[0] == 0xff02,
    };
    // Clusters have pods and Services in the blocks above the host's own.
    let host = match ip {
        std::net::IpAddr::V4(ip) => ip.octets()[..2] == [127, 0],
        std::net::IpAddr::V6(ip) => ip.is_loopback(),
    };
    if ip.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if host {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10, 224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

/// A path that stays below where it starts; upstream names both faults.
pub(super) fn descending_path(path: &str, field: &str, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid(field, &path.into(), "must be a relative path");
    }
    no_backsteps(path, field, errors);
}

/// A path without `..`.
pub(super) fn no_backsteps(path: &str, field: &str, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(field, &path.into(), "must not contain '..'");
    }
}

/// The path of a file that a volume makes.
pub(super) fn local_path(path: &str, field: &str, errors: &mut Errors) {
    descending_path(path, field, errors);
    if path.starts_with("..") && path.split('/').next() != Some("..") {
        errors.invalid(field, &path.into(), "must not start with '..'");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong_names() {
        type Rule = fn(&str) -> Vec<String>;
        let rows: [(Rule, &str, &str, usize); 9] = [
            (label, "a-1", "a.b", 1),
            (label_1035, "a1", "1a", 1),
            (subdomain, "a.b-c", "A", 1),
            (path_segment, "system:node", "a/b", 1),
            (qualified, "a.test/b_C", "", 2),
            (qualified, "a", "A_/b c", 2),
            (label_value, "", "-", 1),
            (config_key, "a.b", "..x", 1),
            (port, "http", "h--p-", 2),
        ];
        for (rule, right, wrong, count) in rows {
            assert_eq!(rule(right), Vec::<String>::new(), "{right}");
            assert_eq!(rule(wrong).len(), count, "{wrong}");
        }
    }
}
