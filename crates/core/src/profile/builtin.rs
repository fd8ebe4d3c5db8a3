//! The profiles and suites that come with democtl, as texts.

use super::Source;

/// Names and texts of the built-in profiles.
pub const BUILTIN_PROFILES: [(&str, &str); 3] = [
    ("m3demo1", include_str!("../../../../profiles/m3demo1.toml")),
    ("m3demo2", include_str!("../../../../profiles/m3demo2.toml")),
    ("m3demo2-as-written", include_str!("../../../../profiles/m3demo2-as-written.toml")),
];

/// Names and texts of the built-in suites.
pub const BUILTIN_SUITES: [(&str, &str); 1] = [("standard", include_str!("../../../../suites/standard.toml"))];

fn find(table: &[(&str, &str)], directory: &str, name: &str) -> Option<Source> {
    let (name, text) = table.iter().find(|(known, _)| *known == name)?;
    Some(Source { name: format!("{directory}/{name}.toml"), text: (*text).to_owned() })
}

/// The built-in profile of that name.
pub fn builtin(name: &str) -> Option<Source> {
    find(&BUILTIN_PROFILES, "profiles", name)
}

/// The built-in suite of that name.
pub fn builtin_suite(name: &str) -> Option<Source> {
    find(&BUILTIN_SUITES, "suites", name)
}
