//! Every key refuses what is no value of it, by its name and with what it allows.

use std::collections::HashMap;

use super::*;
use crate::config::file;
use crate::document::{Fault, Faults, Row};

/// What a section needs in the one around it before it is read.
const NEEDED: [(&str, &str); 1] = [("route.then.fallback", "pool = \"web\"")];

/// The headers under which a key of this section stands, each section within the one before.
fn headers(titles: &HashMap<String, String>, section: &str) -> String {
    let ends = section.match_indices('.').map(|(at, _)| at).chain([section.len()]);
    let titles: Vec<&str> = ends.filter_map(|end| titles.get(&section[..end])).map(String::as_str).collect();
    let (own, around) = titles.split_last().expect("a section has a title");
    let needed = NEEDED.iter().find(|(of, _)| *of == section).map_or("", |(_, line)| *line);
    format!("{}\n{needed}\n{own}\n", around.join("\n"))
}

/// Values just outside of a range that is said as `of A to B`, and of none.
fn outside(allowed: &str) -> Vec<String> {
    let bounds = |of: &str| {
        let rest = &allowed[allowed.find(of)? + of.len()..];
        let (low, rest) = rest.split_once(" to ")?;
        let high: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '"').collect();
        Some((low.to_owned(), high))
    };
    if let Some((low, high)) = bounds("a whole number of ") {
        let below = low.parse::<i64>().ok().map(|low| low - 1);
        let above = high.parse::<i64>().ok().and_then(|high| high.checked_add(1));
        return [below, above].into_iter().flatten().map(|number| number.to_string()).collect();
    }
    if let Some((low, high)) = bounds("a duration of ") {
        let ms = |text: &str| {
            let text = text.trim_matches('"');
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match &text[digits.len()..] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                unit => panic!("{unit} of {allowed}"),
            };
            digits.parse::<u64>().unwrap() * unit
        };
        let below = ms(&low).checked_sub(1);
        return [below, Some(ms(&high) + 1)].into_iter().flatten().map(|ms| format!("\"{ms}ms\"")).collect();
    }
    Vec::new()
}

/// The file in which this key has this value.
fn file_with(titles: &HashMap<String, String>, row: &Row, value: &str) -> String {
    let header = headers(titles, &row.section);
    // What the key needs beside it is said, where that is one setting of the same section.
    let first = row.only.map(|only| only.split(" or ").next().unwrap_or_default());
    let beside = first.filter(|only| only.contains(" = ")).map_or(String::new(), |only| format!("{only}\n"));
    format!("{header}{beside}{} = {value}\n", row.key)
}

fn of_key<'f>(faults: &'f Faults, row: &Row) -> Option<&'f Fault> {
    faults.faults.iter().find(|fault| {
        fault.key == row.key
            || fault.key.ends_with(&format!(".{}", row.key))
            || fault.key.ends_with(&format!(" {}", row.key))
    })
}

fn is_taken(titles: &HashMap<String, String>, row: &Row, value: &str) -> bool {
    of_text(&file_with(titles, row, value)).err().is_none_or(|refused| of_key(&refused.faults, row).is_none())
}

fn refused(titles: &HashMap<String, String>, row: &Row, value: &str) {
    let text = file_with(titles, row, value);
    let Err(refused) = of_text(&text) else { panic!("it is taken:\n{text}") };
    let Some(fault) = of_key(&refused.faults, row) else {
        panic!("nothing is said of {}:\n{text}\n{}", row.key, refused.faults)
    };
    assert!(
        fault.allowed.as_deref().is_some_and(|allowed| !allowed.is_empty()) || fault.hint.is_some(),
        "it is not said what is allowed:\n{text}\n{fault}"
    );
}

#[test]
fn every_bad_value_of_every_key_is_refused_with_the_key_and_what_is_allowed() {
    let description = file::describe();
    let titles: HashMap<String, String> =
        description.sections.iter().map(|section| (section.name.clone(), section.title.clone())).collect();
    assert!(description.rows.len() > 100, "{}", description.rows.len());
    let (mut ranges, mut any_text) = (0, Vec::new());
    for row in &description.rows {
        // A day, and a list of lists of lists: no key takes either.
        for value in ["1979-05-27", "[[[1]]]"] {
            refused(&titles, row, value);
        }
        for value in outside(&row.allowed) {
            ranges += 1;
            refused(&titles, row, &value);
        }
        // A text that nobody means: a character of it cannot be seen, and no value may be so long.
        if is_taken(&titles, row, &format!("\"\\u0000{}\"", "a".repeat(70_000))) {
            any_text.push(format!("{}.{}", row.section, row.key));
        }
    }
    assert!(ranges > 30, "{ranges}");
    assert_eq!(any_text, [""; 0], "keys that take whatever text");
}
