//! Bodies of requests: JSON, YAML or protobuf, with the members that they have twice.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value, and the paths of members that were given more than once.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) duplicates: Vec<String>,
    /// Whether there was any text.
    pub(crate) given: bool,
}

/// Reads JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { at: None, duplicates: &mut duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Parsed { value, duplicates, given: true })
}

/// Reads YAML.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Parsed, serde_yaml_ng::Error> {
    let mut duplicates = Vec::new();
    let node = Node { at: None, duplicates: &mut duplicates };
    // Of several documents only the first one counts.
    let value = match serde_yaml_ng::Deserializer::from_slice(bytes).next() {
        Some(document) => node.deserialize(document)?,
        None => Value::Null,
    };
    Ok(Parsed { value, duplicates, given: true })
}

impl Parsed {
    /// The same where null is an object that says nothing.
    pub(crate) fn or_object(mut self) -> Self {
        if self.given && self.value.is_null() {
            self.value = Value::Object(Map::new());
        }
        self
    }
}

struct Node<'a> {
    at: Option<&'a At<'a>>,
    duplicates: &'a mut Vec<String>,
}

/// Where a value stands; written out only for a member that is there twice.
struct At<'a> {
    above: Option<&'a At<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(formatter)?;
        }
        match self.step {
            Step::Member(name) if self.above.is_none() => formatter.write_str(name),
            Step::Member(name) => write!(formatter, ".{name}"),
            Step::Item(index) => write!(formatter, "[{index}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Node { at: above, duplicates } = self;
        let mut all = Vec::new();
        loop {
            let at = At { above, step: Step::Item(all.len()) };
            match items.next_element_seed(Node { at: Some(&at), duplicates })? {
                Some(item) => all.push(item),
                None => return Ok(Value::Array(all)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Node { at: above, duplicates } = self;
        let mut all = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let at = At { above, step: Step::Member(&key) };
            let value = members.next_value_seed(Node { at: Some(&at), duplicates })?;
            if all.contains_key(&key) {
                let path = at.to_string();
                if !duplicates.contains(&path) {
                    duplicates.push(path);
                }
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_one_counts_and_the_path_is_told() {
        let text = br#"{"a": {"b": 1, "b": 2}, "c": [{"d": null, "d": "x"}], "a": {"b": 3}}"#;
        let parsed = json(text).expect("JSON");
        assert_eq!(parsed.value, json!({ "a": { "b": 3 }, "c": [{ "d": "x" }] }));
        assert_eq!(parsed.duplicates, ["a.b", "c[0].d", "a"]);
        let parsed = yaml(b"a: '1'\nb:\n- 2.5\n- true\n").expect("YAML");
        assert_eq!((parsed.value, parsed.duplicates.len()), (json!({ "a": "1", "b": [2.5, true] }), 0));
        assert!(json(b"{} x").is_err());
    }
}
