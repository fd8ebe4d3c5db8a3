//! The grammar of label selectors as text: `a=b,c in (d,e),!f,g>5`.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/labels/selector.go>

use std::collections::BTreeSet;

use super::labels::{Operator, Requirement};
use crate::api::model::names;

const OPERATORS: &str = "!=, <, =, ==, >, in, notin";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Word,
    Not,
    Open,
    Close,
    Comma,
    Operator(Operator),
}

/// Reads a selector; the error tells what was found and what was expected.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut all = Vec::new();
    loop {
        match parser.peek() {
            (Token::Word | Token::Not, _) => {
                let wrong = |why: String| format!("unable to parse requirement: {why}");
                all.push(parser.requirement().map_err(wrong)?);
                match parser.next() {
                    (Token::End, _) => return Ok(all),
                    (Token::Comma, _) => match parser.peek() {
                        (Token::Word | Token::Not, _) => {}
                        (_, found) => return Err(format!("found '{found}', expected: identifier after ','")),
                    },
                    (_, found) => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
                }
            }
            (Token::End, _) => return Ok(all),
            (_, found) => return Err(format!("found '{found}', expected: !, identifier, or 'end of string'")),
        }
    }
}

fn tokens(text: &str) -> Vec<(Token, &str)> {
    let special = |c: char| "=!(),<>".contains(c);
    let space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(space);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("==") || rest.starts_with("!=") {
            2
        } else if special(first) {
            1
        } else {
            rest.find(|c| special(c) || space(c)).unwrap_or(rest.len())
        };
        let (found, after) = rest.split_at(length);
        let token = match found {
            "!" => Token::Not,
            "(" => Token::Open,
            ")" => Token::Close,
            "," => Token::Comma,
            "=" => Token::Operator(Operator::Equals),
            "==" => Token::Operator(Operator::DoubleEquals),
            "!=" => Token::Operator(Operator::NotEquals),
            ">" => Token::Operator(Operator::Greater),
            "<" => Token::Operator(Operator::Less),
            "in" => Token::Operator(Operator::In),
            "notin" => Token::Operator(Operator::NotIn),
            _ => Token::Word,
        };
        tokens.push((token, found));
        rest = after.trim_start_matches(space);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

impl<'a> Parser<'a> {
    /// What comes next, where `in` and `notin` are words as any other.
    fn peek(&self) -> (Token, &'a str) {
        match self.tokens.get(self.at).copied() {
            Some((Token::Operator(Operator::In | Operator::NotIn), word)) => (Token::Word, word),
            Some(found) => found,
            None => (Token::End, ""),
        }
    }

    fn next(&mut self) -> (Token, &'a str) {
        let found = self.peek();
        self.at += 1;
        found
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.next();
        let absent = token == Token::Not;
        if absent {
            (token, key) = self.next();
        }
        if token != Token::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let wrong = names::qualified(key);
        if !wrong.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
        }
        if absent {
            return Requirement::new(key, Operator::Absent, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = match self.tokens.get(self.at) {
            Some((Token::Operator(operator), _)) => *operator,
            found => {
                let found = found.map_or("", |(_, text)| text);
                return Err(format!("found '{found}', expected: {OPERATORS}"));
            }
        };
        self.at += 1;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.value()?,
        };
        Requirement::new(key, operator, values.into_iter().map(ToOwned::to_owned).collect())
    }

    /// `(a,b)`; an empty place is an empty value.
    fn values(&mut self) -> Result<BTreeSet<&'a str>, String> {
        match self.next() {
            (Token::Open, _) => {}
            (_, found) => return Err(format!("found '{found}' expected: '('")),
        }
        let mut values = BTreeSet::new();
        match self.peek() {
            (Token::Word | Token::Comma, _) => {}
            (Token::Close, _) => {
                self.at += 1;
                return Ok(BTreeSet::from([""]));
            }
            (_, found) => return Err(format!("found '{found}', expected: ',', ')' or identifier")),
        }
        loop {
            match self.next() {
                (Token::Word, word) => {
                    values.insert(word);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, found) => return Err(format!("found '{found}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert("");
                    }
                    match self.peek() {
                        (Token::Close, _) => {
                            values.insert("");
                            break;
                        }
                        (Token::Comma, _) => {
                            self.at += 1;
                            values.insert("");
                        }
                        _ => {}
                    }
                }
                (_, found) => return Err(format!("found '{found}', expected: ',', or identifier")),
            }
        }
        self.at += 1;
        Ok(values)
    }

    fn value(&mut self) -> Result<BTreeSet<&'a str>, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([""]));
        }
        match self.next() {
            (Token::Word, word) => Ok(BTreeSet::from([word])),
            (_, found) => Err(format!("found '{found}', expected: identifier")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_reads_and_refuses() {
        let read =
            ["", "a", "!a", "a=", "a==b", "in in (in,notin)", "x in (,b,,c)", "x notin ()", "a>5 , b < 1", "a,b"];
        for text in read {
            assert!(parse(text).is_ok(), "{text}");
        }
        let refused = [
            ("x in", "unable to parse requirement: found '' expected: '('"),
            ("x in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
            ("a b", "unable to parse requirement: found 'b', expected: !=, <, =, ==, >, in, notin"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
            ("a=(b)", "unable to parse requirement: found '(', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (text, why) in refused {
            assert_eq!(parse(text).err().as_deref(), Some(why), "{text}");
        }
        for text in ["-n=1", "a/b/c", "/b", "A_/b", "a=-"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
