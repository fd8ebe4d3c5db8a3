//! Objects in Kubernetes' protobuf form, as kubectl's generators send them, read into JSON. Answers are always JSON.
//!
//! The field numbers are upstream's `generated.proto`; what is a pointer there decides whether a zero was meant.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Messages, one a line: name, then `number:json name:type` of each field. Types: string, bytes, integer, Bool, double,
/// or a message; before it `+` repeated, `%` map from string, `*` pointer, `^` inlined.
const TABLE: &str = include_str!("../../data/protobuf.txt");

const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    #[error("proto: unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    WireType(u64),
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    Unknown { api_version: String, kind: String },
    #[error("proto: invalid {0}")]
    Invalid(&'static str),
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mark of its own in the table")]
struct Field {
    name: &'static str,
    kind: &'static str,
    repeated: bool,
    map: bool,
    pointer: bool,
    inline: bool,
}

type Messages = HashMap<&'static str, HashMap<u64, Field>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.filter_map(field).collect()))
        })
        .collect()
});

fn field(text: &'static str) -> Option<(u64, Field)> {
    let mut parts = text.splitn(3, ':');
    let (number, name, marked) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let kind = marked.trim_start_matches(['+', '%', '*', '^']);
    let marks = &marked[..marked.len() - kind.len()];
    let has = |mark: char| marks.contains(mark);
    Some((number, Field { name, kind, repeated: has('+'), map: has('%'), pointer: has('*'), inline: has('^') }))
}

/// One field as it lies on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(ProtobufError::Truncated)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Invalid("varint"))
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ProtobufError> {
    let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Wire<'a>), ProtobufError> {
    let tag = varint(bytes)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => {
            let fixed = take(bytes, 8)?.try_into().map_err(|_| ProtobufError::Truncated)?;
            Wire::Number(u64::from_le_bytes(fixed))
        }
        2 => {
            let length = varint(bytes)?;
            Wire::Bytes(take(bytes, length)?)
        }
        other => return Err(ProtobufError::WireType(other)),
    };
    Ok((tag >> 3, wire))
}

fn text(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Invalid("UTF-8"))
}

/// The object that the envelope holds.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
    let (mut api_version, mut kind, mut raw): (String, String, &[u8]) = (String::new(), String::new(), &[]);
    while !envelope.is_empty() {
        match next(&mut envelope)? {
            (1, Wire::Bytes(mut meta)) => {
                while !meta.is_empty() {
                    match next(&mut meta)? {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = message_name(&api_version, &kind);
    let Some((name, _)) = name.as_deref().and_then(|name| MESSAGES.get_key_value(name)) else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    // A message that is no object, such as a time, is no kind.
    let Value::Object(mut object) = message(name, raw)? else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    object.insert("apiVersion".to_owned(), json!(api_version));
    object.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(object))
}

/// Upstream's packages are called by the first label of their group.
fn message_name(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let own = format!("{}.{version}.{kind}", group.split('.').next()?);
    // Options belong to every group.
    [own, format!("meta.v1.{kind}")].into_iter().find(|name| MESSAGES.contains_key(name.as_str()))
}

fn message(name: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    match name {
        "meta.v1.Time" | "meta.v1.MicroTime" => return time(bytes, name == "meta.v1.MicroTime"),
        "Quantity" => return only(bytes, 1)?.map_or(Ok(Value::Null), |bytes| text(bytes).map(Value::String)),
        "RawExtension" | "meta.v1.FieldsV1" => {
            let Some(raw) = only(bytes, 1)? else { return Ok(Value::Null) };
            return serde_json::from_slice(raw).map_err(|_| ProtobufError::Invalid("embedded JSON"));
        }
        "IntOrString" => return int_or_string(bytes),
        _ => {}
    }
    let mut object = fields(name, bytes)?;
    if name.ends_with(".ExtraValue") {
        return Ok(object.remove("items").unwrap_or_else(|| json!([])));
    }
    Ok(Value::Object(object))
}

fn fields(name: &str, mut bytes: &[u8]) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    let known = MESSAGES.get(name);
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        let Some(field) = known.and_then(|known| known.get(&number)) else { continue };
        if field.map {
            let (key, value) = entry(field, &wire)?;
            let of = object.entry(field.name).or_insert_with(|| json!({}));
            of.as_object_mut().ok_or(ProtobufError::Invalid("map"))?.insert(key, value);
            continue;
        }
        let value = scalar(field.kind, &wire)?;
        if field.inline {
            if let Value::Object(inner) = value {
                object.extend(inner);
            }
        } else if field.repeated {
            let of = object.entry(field.name).or_insert_with(|| json!([]));
            of.as_array_mut().ok_or(ProtobufError::Invalid("repeated field"))?.push(value);
        } else if !value.is_null() && (field.pointer || !is_zero(&value)) {
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(object)
}

fn entry(field: &Field, wire: &Wire<'_>) -> Result<(String, Value), ProtobufError> {
    let Wire::Bytes(mut bytes) = *wire else { return Err(ProtobufError::Invalid("map")) };
    let (mut key, mut value) = (String::new(), scalar(field.kind, &Wire::Bytes(&[]))?);
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, wire) => value = scalar(field.kind, &wire)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn scalar(kind: &str, wire: &Wire<'_>) -> Result<Value, ProtobufError> {
    Ok(match (kind, wire) {
        ("s", Wire::Bytes(bytes)) => json!(text(bytes)?),
        ("b", Wire::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        ("i", Wire::Number(number)) => json!(number.cast_signed()),
        ("B", Wire::Number(number)) => json!(*number != 0),
        ("d", Wire::Number(number)) => json!(f64::from_bits(*number)),
        ("s" | "b" | "i" | "B" | "d", _) | (_, Wire::Number(_)) => return Err(ProtobufError::Invalid("wire type")),
        (name, Wire::Bytes(bytes)) => message(name, bytes)?,
    })
}

/// What upstream's `omitempty` leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

fn only(mut bytes: &[u8], wanted: u64) -> Result<Option<&[u8]>, ProtobufError> {
    let mut found = None;
    while !bytes.is_empty() {
        if let (number, Wire::Bytes(bytes)) = next(&mut bytes)?
            && number == wanted
        {
            found = Some(bytes);
        }
    }
    Ok(found)
}

fn int_or_string(mut bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut string) = (false, 0, String::new());
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => string = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(string) } else { json!(number) })
}

fn time(mut bytes: &[u8], micro: bool) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    while !bytes.is_empty() {
        match next(&mut bytes)? {
            (1, Wire::Number(number)) => seconds = number.cast_signed(),
            (2, Wire::Number(number)) => nanos = u32::try_from(number).map_err(|_| ProtobufError::Invalid("time"))?,
            _ => {}
        }
    }
    let time = chrono::DateTime::from_timestamp(seconds, nanos).ok_or(ProtobufError::Invalid("time"))?;
    let format = if micro { chrono::SecondsFormat::Micros } else { chrono::SecondsFormat::Secs };
    Ok(json!(time.to_rfc3339_opts(format, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
        let length = u8::try_from(inner.len()).expect("a short message");
        [&[number << 3 | 2, length], inner].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC, &bytes(1, &meta), &bytes(2, raw)].concat()
    }

    #[test]
    fn a_config_map() {
        let metadata = bytes(1, &[bytes(1, b"settings"), bytes(2, b"")].concat());
        let data = bytes(2, &[bytes(1, b"a"), bytes(2, b"1")].concat());
        let object = decode(&envelope("v1", "ConfigMap", &[metadata, data].concat()));
        let wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "a": "1" },
        });
        assert_eq!(object, Ok(wanted));
    }

    #[test]
    fn zeros_of_pointers_are_meant_others_are_not() {
        // replicas (1) is a pointer, minReadySeconds (5) is not.
        let spec = bytes(2, &[1 << 3, 0, 5 << 3, 0]);
        let object = decode(&envelope("apps/v1", "Deployment", &spec)).expect("a deployment");
        assert_eq!(object["spec"], json!({ "replicas": 0 }));
    }

    #[test]
    fn what_is_no_object() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::Prefix));
        assert_eq!(decode(b"k8s\0\x0a\x7f"), Err(ProtobufError::Truncated));
        assert_eq!(decode(b"k8s\0\x0f"), Err(ProtobufError::WireType(7)));
        let unknown = ProtobufError::Unknown { api_version: "v1".to_owned(), kind: "Gadget".to_owned() };
        assert_eq!(decode(&envelope("v1", "Gadget", b"")), Err(unknown));
        let part = ProtobufError::Unknown { api_version: "v1".to_owned(), kind: "Time".to_owned() };
        assert_eq!(decode(&envelope("v1", "Time", b"")), Err(part));
    }
}
