//! Binary operators and vector matching:
//! <https://prometheus.io/docs/prometheus/latest/querying/operators/#vector-matching>.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::{
    label::METRIC_NAME,
    parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality},
};

use super::{Answer, Element, Evaluator, Labels, QueryError, nameless, wrong_type};

/// Evaluates a binary expression.
pub(super) fn binary(evaluator: &Evaluator<'_>, binary: &BinaryExpr) -> Result<Answer, QueryError> {
    let operator = binary.op.to_string();
    let modifier = binary.modifier.clone().unwrap_or_default();
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err(QueryError::Unsupported("the fill modifier".to_owned()));
    }
    let apply = Operator { name: &operator, bool: modifier.return_bool };
    match (evaluator.eval(&binary.lhs)?, evaluator.eval(&binary.rhs)?) {
        (Answer::Scalar(left), Answer::Scalar(right)) => {
            let scalar = Operator { bool: true, ..apply };
            Ok(Answer::Scalar(scalar.compute(left, right)?.unwrap_or(f64::NAN)))
        }
        (Answer::Vector(left), Answer::Scalar(right)) => {
            apply.with_scalar(left, |value| (value, right), |value| value).map(Answer::Vector)
        }
        (Answer::Scalar(left), Answer::Vector(right)) => {
            apply.with_scalar(right, |value| (left, value), |value| value).map(Answer::Vector)
        }
        (Answer::Vector(left), Answer::Vector(right)) => {
            let matched = match operator.as_str() {
                "and" | "or" | "unless" => sets(&operator, left, right, &modifier),
                _ => vectors(&apply, left, right, &modifier)?,
            };
            Ok(Answer::Vector(matched))
        }
        _ => Err(wrong_type(&operator, "scalar or instant vector")),
    }
}

#[derive(Clone, Copy)]
struct Operator<'a> {
    name: &'a str,
    /// A comparison gives 0 or 1 rather than filtering.
    bool: bool,
}

impl Operator<'_> {
    fn is_comparison(self) -> bool {
        matches!(self.name, "==" | "!=" | ">" | "<" | ">=" | "<=")
    }

    /// Whether the result keeps the metric's name: only a filter does.
    fn is_filter(self) -> bool {
        self.is_comparison() && !self.bool
    }

    /// The value; none when a comparison filters it away.
    fn compute(self, left: f64, right: f64) -> Result<Option<f64>, QueryError> {
        let compare = |holds: bool| match (self.bool, holds) {
            (true, holds) => Some(f64::from(u8::from(holds))),
            (false, true) => Some(left),
            (false, false) => None,
        };
        Ok(match self.name {
            "+" => Some(left + right),
            "-" => Some(left - right),
            "*" => Some(left * right),
            "/" => Some(left / right),
            "%" => Some(left % right),
            "^" => Some(left.powf(right)),
            "atan2" => Some(left.atan2(right)),
            #[expect(clippy::float_cmp, reason = "PromQL's own comparison is exact")]
            "==" => compare(left == right),
            #[expect(clippy::float_cmp, reason = "PromQL's own comparison is exact")]
            "!=" => compare(left != right),
            ">" => compare(left > right),
            "<" => compare(left < right),
            ">=" => compare(left >= right),
            "<=" => compare(left <= right),
            other => return Err(QueryError::Unsupported(format!("operator {other}"))),
        })
    }

    fn with_scalar(
        self,
        elements: Vec<Element>,
        operands: impl Fn(f64) -> (f64, f64),
        kept: impl Fn(f64) -> f64,
    ) -> Result<Vec<Element>, QueryError> {
        let mut out = Vec::with_capacity(elements.len());
        for element in elements {
            let (left, right) = operands(element.value);
            let Some(value) = self.compute(left, right)? else { continue };
            // A filter keeps the vector's value, on whichever side the scalar stands.
            out.push(if self.is_filter() {
                Element { value: kept(element.value), ..element }
            } else {
                Element { labels: nameless(element.labels), value }
            });
        }
        Ok(out)
    }
}

/// The labels that two elements must share to match.
fn signature(labels: &Labels, modifier: &BinModifier) -> Labels {
    let keep = |name: &String| match &modifier.matching {
        Some(LabelModifier::Include(on)) => on.labels.contains(name),
        Some(LabelModifier::Exclude(ignoring)) => name != METRIC_NAME && !ignoring.labels.contains(name),
        None => name != METRIC_NAME,
    };
    labels.iter().filter(|(name, _)| keep(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn sets(operator: &str, left: Vec<Element>, right: Vec<Element>, modifier: &BinModifier) -> Vec<Element> {
    let signatures = |elements: &[Element]| -> BTreeSet<Labels> {
        elements.iter().map(|element| signature(&element.labels, modifier)).collect()
    };
    match operator {
        "and" | "unless" => {
            let others = signatures(&right);
            let wanted = operator == "and";
            let matches = |element: &Element| others.contains(&signature(&element.labels, modifier)) == wanted;
            left.into_iter().filter(matches).collect()
        }
        _ => {
            let first = signatures(&left);
            let rest = right.into_iter().filter(|element| !first.contains(&signature(&element.labels, modifier)));
            left.into_iter().chain(rest).collect()
        }
    }
}

/// One-to-one, many-to-one and one-to-many matching.
fn vectors(
    operator: &Operator<'_>,
    left: Vec<Element>,
    right: Vec<Element>,
    modifier: &BinModifier,
) -> Result<Vec<Element>, QueryError> {
    let (many, one, swapped) = match &modifier.card {
        VectorMatchCardinality::OneToMany(_) => (right, left, true),
        _ => (left, right, false),
    };
    let include = modifier.card.labels().map(|labels| labels.labels.clone());
    let one_side = if swapped { "left" } else { "right" };
    let mut ones: BTreeMap<Labels, Element> = BTreeMap::new();
    for element in one {
        let key = signature(&element.labels, modifier);
        if ones.insert(key.clone(), element).is_some() {
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {} on the {one_side} hand-side of the operation;many-to-many matching not allowed: matching labels must be unique on one side",
                show(&key)
            )));
        }
    }
    let (mut out, mut used) = (Vec::new(), BTreeSet::new());
    for element in many {
        let key = signature(&element.labels, modifier);
        let Some(partner) = ones.get(&key) else { continue };
        let (a, b) = if swapped { (partner.value, element.value) } else { (element.value, partner.value) };
        let value = operator.compute(a, b)?;
        let labels = result_labels(*operator, &element.labels, &partner.labels, modifier, include.as_deref());
        let unique = if include.is_some() { labels.clone() } else { key.clone() };
        let Some(value) = value else { continue };
        if !used.insert(unique) {
            return Err(QueryError::Execution(if include.is_some() {
                "multiple matches for labels: grouping labels must ensure unique matches".to_owned()
            } else {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)".to_owned()
            }));
        }
        out.push(Element { labels, value });
    }
    Ok(out)
}

fn result_labels(
    operator: Operator<'_>,
    many: &Labels,
    one: &Labels,
    modifier: &BinModifier,
    include: Option<&[String]>,
) -> Labels {
    let mut labels = if operator.is_filter() { many.clone() } else { nameless(many.clone()) };
    match include {
        None => match &modifier.matching {
            Some(LabelModifier::Include(on)) => labels.retain(|name, _| on.labels.contains(name)),
            Some(LabelModifier::Exclude(ignoring)) => labels.retain(|name, _| !ignoring.labels.contains(name)),
            None => {}
        },
        Some(include) => {
            for name in include {
                match one.get(name) {
                    Some(value) => drop(labels.insert(name.clone(), value.clone())),
                    None => drop(labels.remove(name)),
                }
            }
        }
    }
    labels
}

fn show(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
