//! Label selectors: of queries as text, of objects as `metav1.LabelSelector`.

use std::fmt;

use serde_json::Value;

use super::grammar;
use crate::api::{model::names, status::Status};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    Absent,
    Greater,
    Less,
}

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// A parsed label selector, in the order of its keys; the default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// The one value that a label must have.
    pub fn value_of(&self, label: &str) -> Option<&str> {
        let demands = |requirement: &&Requirement| {
            matches!(requirement.operator, Operator::Equals | Operator::DoubleEquals | Operator::In)
                && requirement.key == label
                && requirement.values.len() == 1
        };
        self.0.iter().find(demands).map(|requirement| requirement.values[0].as_str())
    }

    /// Parses the string form: `a=b,c in (d,e),!f,g>5`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        grammar::parse(text).map(Self::sorted).map_err(Status::bad_request)
    }

    /// The selector of `matchLabels` and `matchExpressions` (`metav1.LabelSelector`).
    pub fn from_value(selector: &Value) -> Self {
        let mut out = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            out.push(Requirement { key: key.clone(), operator: Operator::Equals, values });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or_default().to_owned();
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let operator = match expression["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("DoesNotExist") => Operator::Absent,
                _ => Operator::Exists,
            };
            out.push(Requirement { key, operator, values });
        }
        Self::sorted(out)
    }

    fn sorted(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|one, other| one.key.cmp(&other.key));
        Self(requirements)
    }

    /// True when it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels fit.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|r| r.matches(labels))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            requirement.fmt(formatter)?;
        }
        Ok(())
    }
}

impl Requirement {
    /// A requirement of a query, whose values are checked.
    pub(super) fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, String> {
        let mut wrong = Vec::new();
        for (index, value) in values.iter().enumerate() {
            if matches!(operator, Operator::Greater | Operator::Less) && value.parse::<i64>().is_err() {
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                wrong.push(format!("values[{index}]: Invalid value: {value:?}: {why}"));
            }
            let bad = names::label_value(value);
            if !bad.is_empty() {
                wrong.push(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", bad.join("; ")));
            }
        }
        match wrong.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }

    fn matches(&self, labels: &Value) -> bool {
        let label = labels.get(&self.key).and_then(Value::as_str);
        let known = |label: &str| self.values.iter().any(|value| value == label);
        let numbers = || Some((label?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => label.is_some_and(known),
            Operator::NotEquals | Operator::NotIn => !label.is_some_and(known),
            Operator::Exists => label.is_some(),
            Operator::Absent => label.is_none(),
            Operator::Greater => numbers().is_some_and(|(label, bound)| label > bound),
            Operator::Less => numbers().is_some_and(|(label, bound)| label < bound),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let (key, values) = (&self.key, values.join(","));
        match self.operator {
            Operator::Equals => write!(formatter, "{key}={values}"),
            Operator::DoubleEquals => write!(formatter, "{key}=={values}"),
            Operator::NotEquals => write!(formatter, "{key}!={values}"),
            Operator::In => write!(formatter, "{key} in ({values})"),
            Operator::NotIn => write!(formatter, "{key} notin ({values})"),
            Operator::Exists => formatter.write_str(key),
            Operator::Absent => write!(formatter, "!{key}"),
            Operator::Greater => write!(formatter, "{key}>{values}"),
            Operator::Less => write!(formatter, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_of_objects_are_printed_in_the_order_of_keys() {
        let selector = json!({
            "matchLabels": { "b": "1" },
            "matchExpressions": [
                { "key": "c", "operator": "NotIn", "values": ["z", "y"] },
                { "key": "a", "operator": "DoesNotExist" },
            ],
        });
        assert_eq!(LabelSelector::from_value(&selector).to_string(), "!a,b=1,c notin (y,z)");
    }
}
