//! Policies as TOML: values of `--set`, and the profile that extends the given one.

use toml_edit::{DocumentMut, Value, value};

use crate::profile::{Trigger, put, spread};

/// What a trigger has unless it says otherwise.
const DEFAULTS: [(&str, &str); 4] = [
    ("server", "\"http://prometheus:9090\""),
    ("address", "\"redis:6379\""),
    ("activation", "0"),
    ("activation", "0.0"),
];

/// Triggers as the list that a profile has.
pub(super) fn triggers(triggers: &[Trigger]) -> String {
    let one = |trigger: &Trigger| {
        let table = toml::Table::try_from(trigger).expect("a trigger is a table of plain values");
        let known = |(key, value): &(String, toml::Value)| !DEFAULTS.contains(&(key.as_str(), &value.to_string()));
        // The type comes first, as people write it.
        let (first, rest): (Vec<_>, Vec<_>) = table.into_iter().filter(known).partition(|(key, _)| key == "type");
        let pairs = first.into_iter().chain(rest).map(|(key, value)| format!("{key} = {}", plain(&value)));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    };
    format!("[{}]", triggers.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A whole number is written without a point.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

/// A profile that `extends` the given one by these overrides; `comment` stands above it.
pub fn difference(extends: &str, description: &str, comment: &str, sets: &[(String, String)]) -> String {
    let mut document = DocumentMut::new();
    document["extends"] = value(extends);
    put(document.as_table_mut(), &["meta", "description"], Value::from(description));
    for (path, text) in sets {
        let segments: Vec<&str> = path.split('.').collect();
        // As `--set` reads it: what is not TOML is a text.
        let parsed = text.parse::<Value>().unwrap_or_else(|_| Value::from(text.as_str()));
        put(document.as_table_mut(), &segments, spread(parsed));
    }
    let comment = comment.lines().fold(String::new(), |text, line| text + "# " + line + "\n");
    format!("{comment}{document}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Profile, Source};

    fn given() -> Profile {
        Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid")
    }

    #[test]
    fn triggers_are_written_as_they_are_read() {
        let given = given();
        for workload in ["web", "worker"] {
            let scaling = given.workload(workload).and_then(|workload| workload.scaling.clone()).expect("it is scaled");
            let set = (format!("workload.{workload}.scaling.trigger"), triggers(&scaling.triggers));
            let read = Profile::load_builtin("m3demo2", &[set]).expect("built in").expect("valid");
            assert_eq!(read, given);
        }
    }

    #[test]
    fn a_file_of_the_difference_is_the_profile_with_the_overrides() {
        let sets = [
            ("pool.main.max", "9"),
            ("pool.main.vm_size", "Standard_D2s_v5"),
            ("workload.web.scaling.behavior.scale_up.policies", "[{ percent = 900, period = \"15s\" }]"),
            (
                "workload.web.scaling.trigger",
                "[{ type = \"cpu\", utilization = 50 }, { type = \"memory\", utilization = 60 }]",
            ),
        ];
        let sets = sets.map(|(path, value)| (path.to_owned(), value.to_owned()));
        let text = difference("m3demo2", "What was found", "Two\nlines", &sets);
        insta::assert_snapshot!(text);
        let source = Source { name: "m3demo2.toml".into(), text };
        let resolve = |name: &str| (name == "m3demo2").then(|| crate::profile::builtin(name)).flatten();
        let described = ("meta.description".to_owned(), "\"What was found\"".to_owned());
        let wanted = Profile::load_builtin("m3demo2", &[&sets[..], &[described]].concat());
        // Under a name of its own: a profile cannot extend itself.
        let read = Profile::load(&Source { name: "found.toml".into(), ..source }, &[], &resolve).expect("valid");
        let wanted = wanted.expect("built in").expect("valid");
        assert_eq!(
            (&read.pools, &read.workloads, &read.description),
            (&wanted.pools, &wanted.workloads, &wanted.description)
        );
    }
}
