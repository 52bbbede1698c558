//! JSON as a document, and a document as JSON.

use std::io;

use serde_json::{Map, Number};

use super::tree::{Content, Entry, Table, Value, shorten};

impl Table {
    /// A JSON object, in its own order. Its values stand on no line.
    pub(crate) fn of_json(object: &Map<String, serde_json::Value>) -> Self {
        let entry = |(key, value): (&String, &serde_json::Value)| Entry {
            key: key.clone(),
            line: 0,
            value: Value { content: content(value), line: 0, shown: shown(value) },
            is_assigned: true,
        };
        Self { entries: object.iter().map(entry).collect(), line: 0 }
    }

    /// What stands under these keys, as it was written. What JSON cannot hold is null there: a date, a number of more digits
    /// than any setting takes.
    pub(crate) fn to_json(&self, keys: &[&str]) -> Map<String, serde_json::Value> {
        let entries = keys.iter().filter_map(|key| self.get(key));
        entries.map(|entry| (entry.key.clone(), json(&entry.value.content))).collect()
    }
}

fn content(value: &serde_json::Value) -> Content {
    match value {
        serde_json::Value::Null => Content::Null,
        serde_json::Value::Bool(value) => Content::Boolean(*value),
        serde_json::Value::Number(number) => number_of(number),
        serde_json::Value::String(text) => Content::Text(text.clone()),
        serde_json::Value::Array(list) => {
            let element = |value| Value { content: content(value), line: 0, shown: shown(value) };
            Content::List(list.iter().map(element).collect())
        }
        serde_json::Value::Object(object) => Content::Table(Table::of_json(object)),
    }
}

fn number_of(number: &Number) -> Content {
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match whole {
        Some(whole) => Content::Integer(Some(whole)),
        None => Content::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn json(content: &Content) -> serde_json::Value {
    match content {
        Content::Text(text) | Content::Word(text) => text.as_str().into(),
        Content::Integer(Some(number)) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => serde_json::Value::Null,
        },
        Content::Float(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, Into::into),
        Content::Boolean(value) => (*value).into(),
        Content::Integer(None) | Content::Datetime | Content::Null => serde_json::Value::Null,
        Content::List(list) => list.iter().map(|value| json(&value.content)).collect(),
        Content::Table(table) => {
            let entries = table.entries.iter();
            entries.map(|entry| (entry.key.clone(), json(&entry.value.content))).collect()
        }
    }
}

/// What stands there, of which no more is written than is shown.
fn shown(value: &serde_json::Value) -> String {
    let mut start = Start(Vec::new());
    // It ends with an error where the start is full.
    let _ = serde_json::to_writer(&mut start, value);
    shorten(&String::from_utf8_lossy(&start.0))
}

/// The first bytes of what is written.
struct Start(Vec<u8>);

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// Beyond what [`shorten`] keeps of characters of four bytes.
        const START_BYTES_MAX: usize = 320;
        let left = START_BYTES_MAX - self.0.len();
        if left == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let taken = bytes.len().min(left);
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_of_json_is_written_as_the_same_json() {
        let value = json!({"b": [1, -1, u64::MAX, 1.5, true, "ü\n", {"x": {}}], "a": "1"});
        let object = value.as_object().unwrap();
        assert_eq!(Table::of_json(object).to_json(&["b", "a", "none"]), *object);
    }

    #[test]
    fn a_value_is_shown_by_its_start_however_long_it_is() {
        let long = json!({"list": vec!["ü\u{1b}"; 100_000], "other": "x".repeat(1_000_000)});
        let table = Table::of_json(long.as_object().unwrap());
        for Entry { value, .. } in &table.entries {
            assert!(value.shown.ends_with(" ...") && value.shown.len() < 400, "{}", value.shown);
            assert!(!value.shown.contains('\u{1b}'));
        }
        assert_eq!(shown(&json!([1, "a"])), r#"[1,"a"]"#);
    }
}
