//! Regular expressions of schemas and rules, compiled once.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex::Regex;

/// Expressions that are kept compiled.
const COMPILED: usize = 1024;

static PATTERNS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// The compiled expression.
pub(in crate::api::model::structural) fn compiled(text: &str) -> Result<Regex, regex::Error> {
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = patterns.get(text) {
        return Ok(known.clone());
    }
    let regex = Regex::new(text)?;
    if patterns.len() >= COMPILED {
        patterns.clear();
    }
    patterns.insert(text.to_owned(), regex.clone());
    Ok(regex)
}
