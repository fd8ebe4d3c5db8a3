//! Built-in kinds as upstream's Go types read and write them: unknown members go, zero values come or go by
//! `omitempty`, quantities and times have one spelling, and a member of a wrong type is an error.
//!
//! <https://github.com/kubernetes/api>, <https://pkg.go.dev/sigs.k8s.io/json>

mod scalar;

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value, json};

use super::resource::Resource;
pub(crate) use scalar::{amount, amount_of, quantity};

/// Structs, one a line: name, then `member:type`. Types: `s` string, `B` bool, `i` int32, `l` int64, `d` float, `b` bytes,
/// `any`, or a struct's name; before it `!` written when empty too, `*` pointer, `+` list, `%` map. Lines that begin with
/// `@` say which struct a kind is.
const TABLE: &str = include_str!("../../data/types.txt");

/// A Go type.
#[derive(Debug)]
enum Type {
    Text,
    Bool,
    Int32,
    Int64,
    Float,
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Any,
    Pointer(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    Struct(&'static str),
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    /// No `omitempty`.
    always: bool,
    kind: Type,
}

/// A Go struct.
#[derive(Debug)]
pub(crate) struct Struct {
    name: &'static str,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Types {
    kinds: HashMap<&'static str, &'static str>,
    structs: HashMap<&'static str, Struct>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let (mut kinds, mut structs) = (HashMap::new(), HashMap::new());
    for line in TABLE.lines() {
        let mut words = line.split(' ');
        let Some(name) = words.next() else { continue };
        if let Some(kind) = name.strip_prefix('@') {
            kinds.extend(words.next().map(|name| (kind, name)));
            continue;
        }
        let fields = words.filter_map(|word| {
            let (name, kind) = word.split_once(':')?;
            let bare = kind.trim_start_matches('!');
            Some(Field { name, always: bare.len() < kind.len(), kind: parse(bare) })
        });
        structs.insert(name, Struct { name, fields: fields.collect() });
    }
    Types { kinds, structs }
});

fn parse(text: &'static str) -> Type {
    let inner = || Box::new(parse(&text[1..]));
    match text.as_bytes().first() {
        Some(b'*') => return Type::Pointer(inner()),
        Some(b'+') => return Type::List(inner()),
        Some(b'%') => return Type::Map(inner()),
        _ => {}
    }
    match text {
        "s" => Type::Text,
        "B" => Type::Bool,
        "i" => Type::Int32,
        "l" => Type::Int64,
        "d" => Type::Float,
        "b" => Type::Bytes,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "any" => Type::Any,
        name => Type::Struct(name),
    }
}

/// The struct of a built-in kind.
pub(crate) fn of(resource: &Resource) -> Option<&'static Struct> {
    of_kind(&resource.api_version(), &resource.kind)
}

/// The struct of a kind by its `apiVersion`.
pub(crate) fn of_kind(api_version: &str, kind: &str) -> Option<&'static Struct> {
    TYPES.kinds.get(format!("{api_version}/{kind}").as_str()).and_then(|name| TYPES.structs.get(name))
}

/// The struct of `metadata`.
pub(crate) fn object_meta() -> Option<&'static Struct> {
    TYPES.structs.get("meta.v1.ObjectMeta")
}

/// A member that is not of its type, in the words of Go's JSON decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mismatch(String);

/// Members that no type knows, by their paths.
pub(crate) type Unknown = Vec<String>;

/// Rewrites an object as Go would after reading it; adds to `unknown` the members that the type does not have.
pub(crate) fn canonical(shape: &Struct, object: &mut Value, unknown: &mut Unknown) -> Result<(), Mismatch> {
    let Some(members) = object.as_object_mut() else {
        return Err(mismatch(shape, "", object, "struct"));
    };
    let mut out = Map::with_capacity(shape.fields.len());
    write_struct(shape, std::mem::take(members), &String::new, unknown, &mut out)?;
    *object = Value::Object(out);
    Ok(())
}

/// Makes lists that are empty null, as they come back from upstream's storage.
pub(crate) fn forget_empty(shape: &Struct, object: &mut Value) {
    for field in &shape.fields {
        if let Some(value) = object.get_mut(field.name) {
            forget_empty_value(&field.kind, value);
        }
    }
}

fn forget_empty_value(kind: &Type, value: &mut Value) {
    match (kind, value) {
        (Type::List(_), value) if value.as_array().is_some_and(Vec::is_empty) => *value = Value::Null,
        (Type::List(inner), Value::Array(items)) => items.iter_mut().for_each(|item| forget_empty_value(inner, item)),
        (Type::Map(inner), Value::Object(members)) => {
            members.values_mut().for_each(|value| forget_empty_value(inner, value));
        }
        (Type::Pointer(inner), value) => forget_empty_value(inner, value),
        (Type::Struct(name), value) => {
            if let Some(shape) = TYPES.structs.get(name) {
                forget_empty(shape, value);
            }
        }
        _ => {}
    }
}

fn write_struct(
    shape: &Struct,
    mut members: Map<String, Value>,
    path: &dyn Fn() -> String,
    unknown: &mut Unknown,
    out: &mut Map<String, Value>,
) -> Result<(), Mismatch> {
    let mut known = 0;
    for field in &shape.fields {
        let value = members.get_mut(field.name).map(Value::take);
        known += usize::from(value.is_some());
        let value = value.unwrap_or(Value::Null);
        let inside = || join(&path(), field.name);
        if value.is_null()
            && !field.always
            && !matches!(field.kind, Type::Struct(_) | Type::Time | Type::MicroTime | Type::Quantity)
        {
            continue;
        }
        let value = read(shape, field.name, &field.kind, value, &inside, unknown)?;
        if field.always || !is_empty(&field.kind, &value) {
            out.insert(field.name.to_owned(), value);
        }
    }
    if known < members.len() {
        let strange = members.keys().filter(|name| !shape.fields.iter().any(|field| field.name == *name));
        let path = path();
        unknown.extend(strange.map(|name| join(&path, name)));
    }
    Ok(())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What `omitempty` leaves out.
fn is_empty(kind: &Type, value: &Value) -> bool {
    match kind {
        Type::Struct(_) | Type::Time | Type::MicroTime | Type::Quantity | Type::IntOrString => false,
        Type::Pointer(_) | Type::Any => value.is_null(),
        _ => match value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
        },
    }
}

fn mismatch(shape: &Struct, name: &str, value: &Value, wanted: &str) -> Mismatch {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let of = shape.name.rsplit('.').next().unwrap_or_default();
    Mismatch(format!("json: cannot unmarshal {found} into Go struct field {of}.{name} of type {wanted}"))
}

/// Reads one value; null is the type's zero.
fn read(
    shape: &Struct,
    name: &str,
    kind: &Type,
    value: Value,
    path: &dyn Fn() -> String,
    unknown: &mut Unknown,
) -> Result<Value, Mismatch> {
    let wrong = |value: &Value, wanted: &str| Err(mismatch(shape, name, value, wanted));
    match (kind, value) {
        (Type::Pointer(_) | Type::List(_) | Type::Map(_) | Type::Any | Type::Bytes, Value::Null) => Ok(Value::Null),
        (Type::Pointer(inner), value) => read(shape, name, inner, value, path, unknown),
        (Type::Any, value) => Ok(value),
        (Type::List(inner), Value::Array(items)) => {
            let mut out = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let inside = || format!("{}[{index}]", path());
                out.push(read(shape, name, inner, item, &inside, unknown)?);
            }
            Ok(Value::Array(out))
        }
        (Type::Map(inner), Value::Object(mut members)) => {
            for (key, value) in &mut members {
                let inside = || format!("{}.{key}", path());
                *value = read(shape, name, inner, value.take(), &inside, unknown)?;
            }
            members.sort_keys();
            Ok(Value::Object(members))
        }
        (Type::Struct(inner), Value::Null) => read(shape, name, &Type::Struct(inner), json!({}), path, unknown),
        (Type::Struct(inner), Value::Object(members)) => {
            let Some(inner) = TYPES.structs.get(inner) else { return Ok(Value::Object(members)) };
            let mut out = Map::with_capacity(members.len());
            write_struct(inner, members, path, unknown, &mut out)?;
            Ok(Value::Object(out))
        }
        (Type::List(_), value) => wrong(&value, "[]"),
        (Type::Map(_), value) => wrong(&value, "map[string]"),
        (Type::Struct(inner), value) => wrong(&value, inner),
        (kind, value) => scalar::read(kind, value).map_err(|failure| match failure {
            scalar::Failure::Type(value, wanted) => mismatch(shape, name, &value, wanted),
            scalar::Failure::Text(text) => Mismatch(text),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::resources::{DEPLOYMENTS, PODS, ROLES};

    fn rewritten(resource: &Resource, mut object: Value) -> (Result<(), String>, Value, Unknown) {
        let mut unknown = Unknown::new();
        let shape = of(resource).expect("a built-in kind");
        let result = canonical(shape, &mut object, &mut unknown).map_err(|error| error.to_string());
        (result, object, unknown)
    }

    #[test]
    fn zeros_come_and_go_as_go_writes_them() {
        let (result, object, unknown) = rewritten(
            &DEPLOYMENTS,
            json!({ "metadata": { "name": "d", "labels": {} }, "spec": { "replicas": 0, "minReadySeconds": 0, "size": 3,
                "template": { "spec": { "containers": [{ "name": "c", "command": [], "colour": "red" }] } } } }),
        );
        assert_eq!(result, Ok(()));
        let container = json!({ "name": "c", "resources": {} });
        let wanted = json!({
            "metadata": { "name": "d", "creationTimestamp": null },
            "spec": { "replicas": 0, "selector": null, "strategy": {},
                "template": { "metadata": { "creationTimestamp": null }, "spec": { "containers": [container] } } },
            "status": {},
        });
        assert_eq!(object, wanted);
        assert_eq!(unknown, ["spec.template.spec.containers[0].colour", "spec.size"]);
    }

    #[test]
    fn empty_lists_come_back_as_none() {
        let (_, mut object, _) = rewritten(&ROLES, json!({ "rules": [] }));
        assert_eq!(object["rules"], json!([]));
        forget_empty(of(&ROLES).expect("a built-in kind"), &mut object);
        assert_eq!(object["rules"], Value::Null);
    }

    #[test]
    fn quantities_and_times_have_one_spelling() {
        let (_, object, _) = rewritten(
            &PODS,
            json!({ "metadata": { "creationTimestamp": "2020-01-01T01:00:00+01:00" }, "spec": { "containers": [{ "name": "c",
                "resources": { "limits": { "memory": "0.5Gi", "cpu": 0.5 } } }] } }),
        );
        assert_eq!(object["metadata"]["creationTimestamp"], "2020-01-01T00:00:00Z");
        let limits = &object["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(*limits, json!({ "cpu": "500m", "memory": "512Mi" }));
    }

    #[test]
    fn a_wrong_type_is_named() {
        let rows = [
            (
                json!({ "spec": { "replicas": "2" } }),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.replicas of type int32",
            ),
            (
                json!({ "spec": { "replicas": 1.5 } }),
                "json: cannot unmarshal number into Go struct field DeploymentSpec.replicas of type int32",
            ),
            (
                json!({ "metadata": [] }),
                "json: cannot unmarshal array into Go struct field Deployment.metadata of type meta.v1.ObjectMeta",
            ),
        ];
        for (object, wanted) in rows {
            assert_eq!(rewritten(&DEPLOYMENTS, object).0, Err(wanted.to_owned()));
        }
    }
}
