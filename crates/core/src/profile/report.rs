//! Collects problems while a profile is read, and knows the sources that they point into.

use std::sync::Arc;

use miette::NamedSource;

use super::{
    Source,
    error::{Problem, ProfileErrors},
    tree::{At, Node},
};

/// Sources and the problems found in them so far.
#[derive(Default)]
pub(super) struct Report {
    sources: Vec<(Arc<NamedSource<String>>, bool)>,
    problems: Vec<(At, Problem)>,
}

impl Report {
    /// Adds a source; `is_override` marks a `--set`.
    pub(super) fn add_source(&mut self, source: &Source, is_override: bool) -> usize {
        self.sources.push((Arc::new(NamedSource::new(&source.name, source.text.clone())), is_override));
        self.sources.len() - 1
    }

    pub(super) fn is_override(&self, at: At) -> bool {
        self.sources[at.source].1
    }

    pub(super) fn text(&self, at: At) -> &str {
        self.sources[at.source].0.inner().get(at.start..at.end).unwrap_or_default()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem at a place.
    pub(super) fn at(
        &mut self,
        code: &'static str,
        at: At,
        message: impl Into<String>,
        label: impl Into<String>,
        hint: Option<String>,
    ) {
        let source = Arc::clone(&self.sources[at.source].0);
        self.problems.push((at, Problem::new(code, at, source, message.into()).label(label).hint(hint)));
    }

    /// Adds a problem at the value of `path` in `tree`, or at the deepest key that exists on the way there.
    pub(super) fn on(
        &mut self,
        tree: &Node,
        path: &str,
        code: &'static str,
        message: impl Into<String>,
        label: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let found = tree.locate(path);
        let at = if found.whole { found.value } else { found.key.unwrap_or(found.value) };
        self.at(code, at, message, label, Some(hint.into()));
    }

    /// How many problems there are so far.
    pub(super) fn len(&self) -> usize {
        self.problems.len()
    }

    /// The result, if there is no problem; else every problem, those of the main file first, in the order of the text.
    pub(super) fn finish<T>(mut self, name: &str, result: Option<T>) -> Result<T, ProfileErrors> {
        if let Some(result) = result.filter(|_| self.problems.is_empty()) {
            return Ok(result);
        }
        self.problems.sort_by_key(|(at, _)| (at.source, at.start, at.end));
        Err(ProfileErrors::new(name.to_owned(), self.problems.into_iter().map(|(_, problem)| problem).collect()))
    }
}
