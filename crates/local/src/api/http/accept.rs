//! Which form of an answer a client accepts.
//!
//! <https://github.com/kubernetes/apiserver/blob/v0.33.0/pkg/endpoints/handlers/negotiation/negotiate.go>

use http::{Request, header};

use super::Status;

/// In which shape objects are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    /// `meta.k8s.io` Table; whether in its old version.
    Table {
        old: bool,
    },
    /// `PartialObjectMetadata`, for one object or for a list; whether in its old version.
    Metadata {
        list: bool,
        old: bool,
    },
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) yaml: bool,
}

/// Who answers: custom resources have a server of their own, which looks less closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Builtin,
    Custom,
}

/// What a client accepts: the whole header.
pub(super) fn header<T>(request: &Request<T>) -> String {
    let values = request.headers().get_all(header::ACCEPT).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// The `apiVersion` of the shapes that are not the object's own.
pub(super) fn meta_version(old: bool) -> &'static str {
    if old { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
}

fn refused(text: impl Into<String>) -> Status {
    Status::new(406, "NotAcceptable", text)
}

/// Reads an `Accept` header: the form that is served and that the client likes best.
pub(super) fn parse(header: &str, by: By) -> Result<Form, Status> {
    const SERVED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    if header.trim().is_empty() {
        return Ok(Form { shape: Shape::Whole, yaml: false });
    }
    // The router of built-in resources asks first, and knows no other pattern than this.
    let routed = |range: &str| {
        let media = range.split(';').next().unwrap_or_default().trim();
        media == "*/*" || SERVED.contains(&media)
    };
    if by == By::Builtin && !header.split(',').any(routed) {
        let text = format!("406: Not Acceptable\n\nAvailable representations: {}", SERVED.join(", "));
        return Err(refused(text).with_details(crate::api::Details::default()));
    }
    let ranges = ranges(header);
    let form = ranges.iter().find_map(|range| {
        // Protobuf is read here, but never written.
        SERVED[..2].iter().filter(|media| range.fits(media)).find_map(|media| {
            let shape = range.shape()?;
            Some(Form { shape, yaml: media.ends_with("yaml") })
        })
    });
    form.ok_or_else(|| refused(format!("only the following media types are accepted: {}", SERVED.join(", "))))
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

/// The parts of a header, the most liked first; where these are equal, the one that says more.
fn ranges(header: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = header.split(',').filter_map(range).collect();
    // Upstream's comparison is no order, so its way of sorting matters.
    for end in 1..ranges.len() {
        for at in (1..=end).rev() {
            let (before, this) = (&ranges[at - 1], &ranges[at]);
            let better = this.quality > before.quality
                || this.kind != "*" && before.kind == "*"
                || this.subtype != "*" && before.subtype == "*";
            if !better {
                break;
            }
            ranges.swap(at - 1, at);
        }
    }
    ranges
}

fn range(part: &str) -> Option<Range<'_>> {
    let mut parts = part.split(';').map(str::trim);
    let media = parts.next()?;
    let (kind, subtype) = if media == "*" { ("*", "*") } else { media.split_once('/')? };
    let parameters: Vec<(&str, &str)> =
        parts.filter_map(|part| part.split_once('=')).filter(|(_, value)| !value.is_empty()).collect();
    let quality = parameters.iter().find(|(name, _)| *name == "q");
    let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
    Some(Range { kind, subtype, quality, parameters })
}

impl Range<'_> {
    fn fits(&self, media: &str) -> bool {
        let Some((kind, subtype)) = media.split_once('/') else { return false };
        (self.kind == kind && (self.subtype == subtype || self.subtype == "*"))
            || (self.kind == "*" && self.subtype == "*")
    }

    /// The shape that the parameters ask for; none when it is not served.
    fn shape(&self) -> Option<Shape> {
        let get = |name: &str| self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        if get("sv").is_some() || get("stream").is_some_and(|stream| stream != "watch") {
            return None;
        }
        let (kind, group, version) = (get("as"), get("g"), get("v"));
        if kind.is_none() && group.is_none() && version.is_none() {
            return Some(Shape::Whole);
        }
        let old = match (group, version) {
            (Some("meta.k8s.io"), Some("v1")) => false,
            (Some("meta.k8s.io"), Some("v1beta1")) => true,
            _ => return None,
        };
        match kind {
            Some("Table") => Some(Shape::Table { old }),
            Some("PartialObjectMetadata") => Some(Shape::Metadata { list: false, old }),
            Some("PartialObjectMetadataList") => Some(Shape::Metadata { list: true, old }),
            _ => None,
        }
    }
}

impl Form {
    /// Refuses the metadata of a list where there is one object, and the other way round.
    pub(super) fn check(self, list: bool) -> Result<(), Status> {
        let text = match self.shape {
            Shape::Metadata { list: false, .. } if list => {
                "you requested PartialObjectMetadata, but the requested object is a list"
            }
            Shape::Metadata { list: true, .. } if !list => {
                "you requested PartialObjectMetadataList, but the requested object is not a list"
            }
            _ => return Ok(()),
        };
        Err(refused(text))
    }

    /// Refuses a stream of YAML.
    pub(super) fn check_stream(self) -> Result<(), Status> {
        if self.yaml {
            let text = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
            return Err(refused(text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_served_and_liked_best() {
        let table = Shape::Table { old: false };
        let rows = [
            ("", Shape::Whole, false),
            ("application/vnd.kubernetes.protobuf,application/json", Shape::Whole, false),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", table, false),
            ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Shape::Whole, false),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Shape::Table { old: true }, false),
            ("application/yaml;as=Table;v=v1;g=meta.k8s.io", table, true),
            ("application/yaml, */*", Shape::Whole, true),
            ("application/json;q=0.5,application/yaml;q=0.9", Shape::Whole, true),
            ("text/plain,*/*;q=0.1", Shape::Whole, false),
            ("*/*,application/yaml", Shape::Whole, true),
        ];
        for (header, shape, yaml) in rows {
            assert_eq!(parse(header, By::Builtin).ok(), Some(Form { shape, yaml }), "{header}");
        }
        for header in ["text/html", "application/*", "application/json;as=Table", "application/json;sv=v1"] {
            assert_eq!(parse(header, By::Builtin).map_err(|status| status.code), Err(406), "{header}");
        }
        assert!(parse("application/*", By::Custom).is_ok());
    }
}
