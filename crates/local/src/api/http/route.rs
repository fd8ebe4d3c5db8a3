//! Paths and queries of requests.

/// A path below `/api/v1` or `/apis/GROUP/VERSION`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// The old form of a watch: `/watch/` before the resource.
    pub(crate) watch: bool,
}

impl Route {
    /// Reads a path; none for other paths.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let decoded: Vec<String> = path.trim_matches('/').split('/').map(|part| percent_decode(part, false)).collect();
        let mut parts = decoded.iter().map(String::as_str);
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut rest: Vec<&str> = parts.collect();
        let watch = rest.first() == Some(&"watch");
        if watch {
            rest.remove(0);
        }
        let mut route = Self { group: group.to_owned(), version: version.to_owned(), watch, ..Self::default() };
        let below = match rest.as_slice() {
            ["namespaces", namespace, resource, below @ ..]
                if !(group.is_empty() && matches!(*resource, "status" | "finalize") && below.is_empty()) =>
            {
                (*namespace).clone_into(&mut route.namespace);
                (*resource).clone_into(&mut route.resource);
                below
            }
            [resource, below @ ..] => {
                (*resource).clone_into(&mut route.resource);
                below
            }
            [] => return None,
        };
        match below {
            [] => {}
            [name] => (*name).clone_into(&mut route.name),
            [name, subresource @ ..] => {
                (*name).clone_into(&mut route.name);
                route.subresource = subresource.join("/");
            }
        }
        Some(route)
    }
}

/// A query's parameters in order; a name may come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a name; none when it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a flag is set: present and neither `false` nor `0`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value != "false" && value != "0")
    }
}

fn percent_decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' if plus => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.clone().take(2).collect();
                let value = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                match value {
                    Some(value) if digits.len() == 2 => {
                        bytes.push(value);
                        rest.nth(1);
                    }
                    _ => bytes.push(b'%'),
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let route = |path| Route::parse(path).expect("a route");
        let pods = route("/api/v1/namespaces/demo/pods/web-1/log");
        assert_eq!((pods.namespace.as_str(), pods.resource.as_str()), ("demo", "pods"));
        assert_eq!((pods.name.as_str(), pods.subresource.as_str()), ("web-1", "log"));
        let namespace = route("/api/v1/namespaces/demo");
        assert_eq!((namespace.resource.as_str(), namespace.name.as_str()), ("namespaces", "demo"));
        assert_eq!(route("/api/v1/namespaces/demo/finalize").subresource, "finalize");
        assert_eq!(route("/apis/apps/v1/deployments").group, "apps");
        assert_eq!(Route::parse("/made/up"), None);
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch=true&x=");
        assert_eq!(query.get("labelSelector"), Some("a=b,c in (d)"));
        assert!(query.flag("watch") && query.get("x").is_none());
        assert_eq!(percent_decode("100%", true), "100%");
    }
}
