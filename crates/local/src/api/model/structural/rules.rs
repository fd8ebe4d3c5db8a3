//! Rules in the Common Expression Language: `x-kubernetes-validations`.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules>

mod library;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use cel::{Context, Env, Program, Value as Cel, objects::Key};
use regex::Regex;
use serde_json::Value;

use super::{super::validate::cause, is_embedded, preserves};
use crate::api::status::Cause;

/// Expressions that are kept compiled.
const COMPILED: usize = 1024;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(library::environment()));

static PROGRAMS: LazyLock<Mutex<HashMap<String, Arc<Program>>>> = LazyLock::new(Mutex::default);

/// `self.a.b` and `oldSelf.a.b`, and whether a call follows.
static PATHS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:self|oldSelf)((?:\.[A-Za-z_][A-Za-z0-9_]*)+)(\s*\()?").expect("a constant pattern")
});

static LITERALS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*""#).expect("a constant pattern"));

/// The rules of one value.
pub(crate) fn rules_of(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten()
}

fn program(text: &str) -> Result<Arc<Program>, String> {
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = programs.get(text) {
        return Ok(known.clone());
    }
    let compiled = Arc::new(ENVIRONMENT.compile(text).map_err(|error| error.to_string())?);
    if programs.len() >= COMPILED {
        programs.clear();
    }
    programs.insert(text.to_owned(), compiled.clone());
    Ok(compiled)
}

/// Whether an expression about a value of this schema compiles: its grammar, and that its members are declared.
pub(crate) fn compiles(schema: &Value, text: &str) -> Result<(), String> {
    program(text)?;
    let bare = LITERALS.replace_all(text, "''");
    for found in PATHS.captures_iter(&bare) {
        let mut names: Vec<&str> = found[1].split('.').skip(1).collect();
        if found.get(2).is_some() {
            names.pop();
        }
        let mut at = schema;
        for name in names {
            let root = OF_EMBEDDED.contains(&name) && is_embedded(at);
            let closed = at["type"] == "object" && at["additionalProperties"].is_null() && !preserves(at);
            if root || !closed {
                break;
            }
            let mut properties = at["properties"].as_object().into_iter().flatten();
            match properties.find(|(key, _)| escaped(key) == name) {
                Some((_, own)) => at = own,
                None if OF_EMBEDDED.contains(&name) => break,
                None => return Err(format!("undefined field '{name}'")),
            }
        }
    }
    Ok(())
}

const OF_EMBEDDED: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A member's name as expressions write it.
fn escaped(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let text = name.replace("__", "__underscores__");
    text.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// Whether a schema has rules anywhere.
fn has_rules(schema: &Value) -> bool {
    let members = schema["properties"].as_object().into_iter().flat_map(|members| members.values());
    rules_of(schema).next().is_some()
        || members.into_iter().any(has_rules)
        || schema["items"].is_object() && has_rules(&schema["items"])
        || schema["additionalProperties"].is_object() && has_rules(&schema["additionalProperties"])
}

/// Adds a cause for each rule that does not hold; not looked at while the object is not of its types.
pub(super) fn check(schema: &Value, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if !has_rules(schema) {
        return;
    }
    let blocks = [
        "FieldValueTypeInvalid",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueNotSupported",
    ];
    if causes.iter().any(|cause| blocks.contains(&cause.reason.as_str())) {
        let text = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(cause("FieldValueInvalid", "<nil>", text.to_owned()));
        return;
    }
    walk(schema, "", object, old, causes);
}

fn walk(schema: &Value, path: &str, value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    for rule in rules_of(schema) {
        check_rule(schema, rule, path, value, old, causes);
    }
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let own = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                let inside = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if let Some(own) = own.filter(|own| own.is_object()) {
                    walk(own, &inside, inner, old.and_then(|old| old.get(name)), causes);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                let before = old.and_then(|old| before(schema, inner, old));
                walk(&schema["items"], &format!("{path}[{index}]"), inner, before, causes);
            }
        }
        _ => {}
    }
}

/// The item that this one was, in lists whose items can be told apart.
fn before<'a>(schema: &Value, item: &Value, old: &'a Value) -> Option<&'a Value> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str).collect();
    old.as_array()?.iter().find(|was| keys.iter().all(|key| was.get(*key) == item.get(*key)))
}

fn check_rule(schema: &Value, rule: &Value, path: &str, value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let text = rule["rule"].as_str().unwrap_or_default();
    let optional = rule["optionalOldSelf"] == true;
    if old.is_none() && !optional && LITERALS.replace_all(text, "''").contains("oldSelf") {
        return;
    }
    let own = to_cel(schema, value);
    let was = match old {
        Some(old) if optional => Some(optional_of(Some(to_cel(schema, old)))),
        None if optional => Some(optional_of(None)),
        old => old.map(|old| to_cel(schema, old)),
    };
    let outcome = evaluate(text, &own, was.as_ref());
    let why = match outcome {
        Ok(Cel::Bool(true)) => return,
        Ok(Cel::Bool(false)) => message(rule, &own, was.as_ref()).unwrap_or_else(|| format!("failed rule: {text}")),
        Ok(_) => format!("rule evaluation error: {text} is not a condition"),
        Err(error) => format!("rule evaluation error: {error} evaluating rule: {text}"),
    };
    let kind = schema["type"].as_str().unwrap_or("object");
    let reason = rule["reason"].as_str().unwrap_or("FieldValueInvalid");
    let said = match reason {
        "FieldValueForbidden" => format!("Forbidden: {why}"),
        "FieldValueRequired" => format!("Required value: {why}"),
        "FieldValueDuplicate" => format!("Duplicate value: \"{kind}\""),
        _ => format!("Invalid value: \"{kind}\": {why}"),
    };
    let at = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
    causes.push(cause(reason, at.trim_start_matches('.'), said));
}

fn message(rule: &Value, own: &Cel, was: Option<&Cel>) -> Option<String> {
    let fixed = rule["message"].as_str().map(ToOwned::to_owned);
    let Some(expression) = rule["messageExpression"].as_str() else { return fixed };
    match evaluate(expression, own, was) {
        Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => Some(text.to_string()),
        _ => fixed,
    }
}

fn evaluate(text: &str, own: &Cel, was: Option<&Cel>) -> Result<Cel, String> {
    let program = program(text)?;
    let mut context = Context::with_env(ENVIRONMENT.clone());
    library::add(&mut context).map_err(|error| error.to_string())?;
    context.add_variable_from_value("self", own.clone());
    if let Some(was) = was {
        context.add_variable_from_value("oldSelf", was.clone());
    }
    program.execute(&context).map_err(|error| error.to_string())
}

fn optional_of(value: Option<Cel>) -> Cel {
    use cel::objects::OptionalValue;
    Cel::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// A value as expressions see it: only what its schema declares, in the types of its schema.
fn to_cel(schema: &Value, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) if schema["type"] == "number" => Cel::Float(number.as_f64().unwrap_or_default()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => text_to_cel(schema, text),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(|item| to_cel(&schema["items"], item)).collect())),
        Value::Object(members) => {
            let mut out: HashMap<Key, Cel> = HashMap::with_capacity(members.len());
            for (name, inner) in members {
                let own = schema["properties"].get(name);
                let any = schema.get("additionalProperties").filter(|any| any.is_object());
                let key = if any.is_some() { name.clone() } else { escaped(name) };
                let schema = own.or(any).unwrap_or(&Value::Null);
                out.insert(Key::String(Arc::new(key)), to_cel(schema, inner));
            }
            Cel::Map(cel::objects::Map { map: Arc::new(out) })
        }
    }
}

fn text_to_cel(schema: &Value, text: &str) -> Cel {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let read = match schema["format"].as_str() {
        Some("date-time") => chrono::DateTime::parse_from_rfc3339(text).ok().map(Cel::Timestamp),
        Some("date") => chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")).ok().map(Cel::Timestamp),
        Some("byte") => STANDARD.decode(text).ok().map(|bytes| Cel::Bytes(Arc::new(bytes))),
        Some("duration") => library::duration(text).map(Cel::Duration),
        _ => None,
    };
    read.unwrap_or_else(|| Cel::String(Arc::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(rule: &str, value: &Value) -> Result<Cel, String> {
        evaluate(rule, &to_cel(&Value::Null, value), None)
    }

    #[test]
    fn the_library_that_clusters_have() {
        let value =
            json!({ "list": [1, 2, 3], "names": ["b", "a"], "text": "a1b22", "url": "https://h.test:1/p?q=1", "n": 3 });
        for rule in [
            "self.list.all(x, x > 0) && self.list.sum() == 6 && self.list.max() == 3 && self.list.isSorted()",
            "!self.names.isSorted() && self.names.exists_one(n, n == 'a')",
            "self.text.find('[0-9]+') == '1' && self.text.findAll('[0-9]+') == ['1', '22']",
            "self.text.matches('^a') && self.text.split('b').size() == 2 && self.text.upperAscii() == 'A1B22'",
            "isURL(self.url) && url(self.url).getHost() == 'h.test:1' && !isURL('nothing')",
            "isIP('10.0.0.1') && !isIP('10.0.0.300') && isCIDR('10.0.0.0/8')",
            "quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('5m') && !isQuantity('x')",
            "has(self.n) && !has(self.m) && self.n in self.list",
            "duration('1h') > duration('59m') && timestamp('2020-01-01T00:00:00Z').getFullYear() == 2020",
        ] {
            assert_eq!(holds(rule, &value), Ok(Cel::Bool(true)), "{rule}");
        }
    }

    #[test]
    fn what_does_not_compile_is_refused() {
        let schema =
            json!({ "type": "object", "properties": { "a": { "type": "object", "properties": { "b-c": {} } } } });
        assert_eq!(compiles(&schema, "self.a.b__dash__c == 1 && self.a.size() > 0"), Ok(()));
        assert_eq!(compiles(&schema, "self.a.d == 'self.x'"), Err("undefined field 'd'".to_owned()));
        assert!(compiles(&schema, "self.a +").is_err());
    }
}
