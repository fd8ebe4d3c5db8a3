//! Which form of an answer a client accepts.

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
    /// `PartialObjectMetadata`, for one object or for a list.
    Metadata {
        list: bool,
    },
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) yaml: bool,
}

/// What a client accepts: the whole header.
pub(super) fn header<T>(request: &Request<T>) -> String {
    let values = request.headers().get_all(header::ACCEPT).iter();
    values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// Reads an `Accept` header; the first form that is served.
pub(super) fn parse(header: &str) -> Result<Form, Status> {
    if header.trim().is_empty() {
        return Ok(Form { shape: Shape::Whole, yaml: false });
    }
    for range in header.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let yaml = media == "application/yaml";
        if !yaml && !matches!(media, "application/json" | "*/*") {
            continue;
        }
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let get = |name: &str| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let old = get("v") == Some("v1beta1");
        if get("as").is_some() && (!matches!(get("v"), Some("v1" | "v1beta1")) || get("g") != Some("meta.k8s.io")) {
            continue;
        }
        let shape = match get("as") {
            None => Shape::Whole,
            Some("Table") => Shape::Table { old },
            Some("PartialObjectMetadata") => Shape::Metadata { list: false },
            Some("PartialObjectMetadataList") => Shape::Metadata { list: true },
            Some(_) => continue,
        };
        return Ok(Form { shape, yaml });
    }
    let text = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml";
    Err(Status::new(406, "NotAcceptable", text).with_details(crate::api::Details::default()))
}

impl Form {
    /// Refuses the metadata of a list where there is one object, and the other way round.
    pub(super) fn check(self, list: bool) -> Result<(), Status> {
        let text = match self.shape {
            Shape::Metadata { list: false } if list => {
                "you requested PartialObjectMetadata, but the requested object is a list"
            }
            Shape::Metadata { list: true } if !list => {
                "you requested PartialObjectMetadataList, but the requested object is not a list"
            }
            _ => return Ok(()),
        };
        Err(Status::new(406, "NotAcceptable", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_served() {
        let rows = [
            ("", Shape::Whole, false),
            ("application/vnd.kubernetes.protobuf,application/json", Shape::Whole, false),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Shape::Table { old: false }, false),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Shape::Table { old: true }, false),
            ("application/yaml, */*", Shape::Whole, true),
        ];
        for (header, shape, yaml) in rows {
            assert_eq!(parse(header).ok(), Some(Form { shape, yaml }), "{header}");
        }
        assert_eq!(parse("text/html").map_err(|status| status.code), Err(406));
    }
}
