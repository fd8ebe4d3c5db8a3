//! What is wrong with a profile: every problem at once, each with code, file, line, column, caret, limit and hint.

use std::{fmt, sync::Arc};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, SourceSpan};

use super::tree::At;

/// One problem.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    message: String,
    source: Arc<NamedSource<String>>,
    span: SourceSpan,
    label: String,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(code: &'static str, at: At, source: Arc<NamedSource<String>>, message: String) -> Self {
        let span = (at.start, at.end.saturating_sub(at.start)).into();
        Self { code, message, source, span, label: String::new(), hint: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.filter(|hint| !hint.is_empty());
        self
    }

    /// Kind, such as `unknown_key`.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, with value and limit.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Name of the file (or `--set`), line and column from 1.
    pub fn position(&self) -> (&str, usize, usize) {
        let text = self.source.inner();
        let before = &text[..self.span.offset().min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (self.source.name(), line, column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("profile::{}", self.code)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = (!self.label.is_empty()).then(|| self.label.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(label, self.span))))
    }
}

/// All problems of a profile; never empty.
#[derive(Debug, Clone)]
pub struct ProfileErrors {
    name: String,
    problems: Vec<Problem>,
}

impl ProfileErrors {
    pub(super) fn new(name: String, problems: Vec<Problem>) -> Self {
        Self { name, problems }
    }

    /// The problems, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All of them as text with carets, without colour, wrapped at `width` columns.
    pub fn to_text(&self, width: usize) -> String {
        let handler =
            GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(width).with_links(false);
        let mut text = String::new();
        for problem in &self.problems {
            if handler.render_report(&mut text, problem).is_err() {
                text.push_str(&problem.message);
            }
        }
        text
    }
}

impl fmt::Display for ProfileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "profile `{}` has {count} problem{}", self.name, if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for ProfileErrors {}

impl Diagnostic for ProfileErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}
