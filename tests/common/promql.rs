//! What a query in Prometheus's language names: as much of the language as that takes.

use std::collections::{BTreeMap, BTreeSet};

/// Names in a query.
#[derive(Debug, Default)]
pub struct Names<'a> {
    /// Each metric, with the labels that it is chosen by.
    pub metrics: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Labels that it is grouped or joined by.
    pub groups: BTreeSet<&'a str>,
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

impl<'a> Names<'a> {
    pub fn of(query: &'a str) -> Self {
        let (mut names, mut tokens) = (Self::default(), tokens(query).into_iter().peekable());
        while let Some(token) = tokens.next() {
            let next = tokens.peek().copied();
            if !is_name(token) || WORDS.contains(&token) {
                continue;
            }
            let until = |end| move |token: &&str| *token != end;
            match next {
                Some("(") if GROUPINGS.contains(&token) => {
                    names.groups.extend(tokens.by_ref().take_while(until(")")).filter(|token| is_name(token)));
                }
                // A function.
                Some("(") => {}
                _ if GROUPINGS.contains(&token) => panic!("{token} of what? {query}"),
                // An aggregation, whose labels come before what it is over.
                Some("by" | "without") => {}
                Some("{") => {
                    let chosen = tokens.by_ref().take_while(until("}")).filter(|token| is_name(token));
                    names.metrics.entry(token).or_default().extend(chosen);
                }
                _ => {
                    names.metrics.entry(token).or_default();
                }
            }
        }
        names
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Words, among them numbers and variables of Grafana, texts in quotes, and single signs.
fn tokens(query: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), query.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_part = |sign: char| sign.is_ascii_alphanumeric() || "_:$.".contains(sign);
        let length = match first {
            '"' => rest[1..].find('"').unwrap_or_else(|| panic!("an open quote: {query}")) + 2,
            _ if is_part(first) => rest.find(|sign| !is_part(sign)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, others) = rest.split_at(length);
        tokens.push(token);
        rest = others.trim_start();
    }
    tokens
}
