//! The text exposition format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use democtl_core::promql::series::{Labels, number};
use promql_parser::label::METRIC_NAME;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ExpositionError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// All samples of a page, in order; timestamps are ignored, as with `honor_timestamps: false`.
pub fn parse(text: &str) -> Result<Vec<(Labels, f64)>, ExpositionError> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| sample(text).map_err(|problem| ExpositionError { line, problem }))
        .collect()
}

fn sample(line: &str) -> Result<(Labels, f64), &'static str> {
    let end = line.find(['{', ' ', '\t']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    let mut labels = Labels::new();
    if name.is_empty() {
        return Err("no metric name");
    }
    labels.insert(METRIC_NAME.to_owned(), name.to_owned());
    let rest = match rest.strip_prefix('{') {
        Some(inner) => read_labels(inner, &mut labels)?,
        None => rest,
    };
    let value = rest.split_whitespace().next().ok_or("no value")?;
    Ok((labels, number(value)?))
}

/// Reads `name="value",...}` and returns what follows.
fn read_labels<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, &'static str> {
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = rest.split_once('=').ok_or("label without a value")?;
        let quoted = after.trim_start().strip_prefix('"').ok_or("label value is not quoted")?;
        let (value, after) = unquote(quoted)?;
        if !value.is_empty() {
            labels.insert(name.trim().to_owned(), value);
        }
        rest = after;
    }
}

fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("label value is not closed")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_page_with_everything() {
        let page = "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
            msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\\",error=\"a \\\"b\\\"\\nc}\"} 1.458255915e9\n\
            metric_without_labels 12.47\nlatency_bucket{le=\"+Inf\",} +Inf\n\n";
        let samples = parse(page).unwrap();
        assert_eq!(samples.len(), 4);
        assert_eq!(samples[0].0["code"], "200");
        assert!((samples[0].1 - 1027.0).abs() < f64::EPSILON);
        assert_eq!(samples[1].0["path"], "C:\\DIR\\");
        assert_eq!(samples[1].0["error"], "a \"b\"\nc}");
        assert_eq!(samples[2].0.len(), 1);
        assert!(samples[3].1.is_infinite());
    }

    #[test]
    fn wrong_lines_are_named() {
        for (page, line, problem) in [
            ("a 1\nb", 2, "no value"),
            ("a{x=1} 2", 1, "label value is not quoted"),
            ("a{x=\"1} 2", 1, "label value is not closed"),
            ("a one", 1, "value is not a number"),
            ("{x=\"1\"} 1", 1, "no metric name"),
        ] {
            assert_eq!(parse(page), Err(ExpositionError { line, problem }), "{page}");
        }
    }
}
