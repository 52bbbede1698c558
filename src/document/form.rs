//! The forms that values are written in: what is allowed, how it is read, how it is shown. Every refusal says why, and
//! where it can what to write instead.

use std::fmt::Display;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use super::fault::nearest;
use super::tree::{Content, Value};
use crate::model::Weight;

/// Why a value is refused.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub why: String,
    pub hint: Option<String>,
}

impl Wrong {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `found` is of another kind than what is `wanted`.
    pub(crate) fn kind(found: &Content, wanted: &str) -> Self {
        let wrong = Self::new(format!("it is {}, not {wanted}", found.name()));
        if matches!(found, Content::Null) { wrong.hint("leave the key out") } else { wrong }
    }
}

/// A form that values are written in.
pub(crate) trait Form {
    /// What comes of it.
    type Out;

    /// What may stand there.
    fn allowed(&self) -> String;

    /// Reads what stands there.
    fn read(&self, content: &Content) -> Result<Self::Out, Wrong>;

    /// Writes it as a user would; of a secret only that it is there.
    fn show(&self, value: &Self::Out) -> String;

    /// Whether what stands there may be a secret, so that nobody is shown it.
    fn is_secret(&self) -> bool {
        false
    }
}

// === durations ===

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `"250ms"`, `"5s"`, `"2m"`, `"1h"`, from the first to the second.
pub(crate) struct Span(pub Duration, pub Duration);

/// A duration as a user writes it, in the greatest unit that needs no fraction.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    // Nobody counts hours in days here: "24h" reads better than "1d" beside "12h".
    let (unit, factor) =
        UNITS[..4].iter().rev().find(|(_, factor)| ms.is_multiple_of(u128::from(*factor))).copied().unwrap_or(UNITS[0]);
    format!("{}{unit}", ms / u128::from(factor))
}

impl Span {
    /// Reads a text such as `5s`.
    pub(crate) fn parse(&self, text: &str) -> Result<Duration, Wrong> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        if digits > 0 && unit.is_empty() {
            return Err(Wrong::new("a number alone does not say its unit").hint(format!("write {text}s for seconds")));
        }
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let (Ok(number), Some(factor)) = (number.parse::<u64>(), factor) else {
            return Err(Wrong::new("it is not a duration")
                .hint("write one whole number and one unit of ms, s, m, h, d: 1500ms, 90m"));
        };
        self.within(number.checked_mul(factor).map_or(Duration::MAX, Duration::from_millis))
    }

    /// Takes a duration that was read already.
    pub(crate) fn within(&self, duration: Duration) -> Result<Duration, Wrong> {
        if duration < self.0 {
            Err(Wrong::new(format!("it is less than {}", show_duration(self.0))))
        } else if duration > self.1 {
            Err(Wrong::new(format!("it is more than {}", show_duration(self.1))))
        } else {
            Ok(duration)
        }
    }
}

impl Form for Span {
    type Out = Duration;

    fn allowed(&self) -> String {
        format!("a duration of \"{}\" to \"{}\"", show_duration(self.0), show_duration(self.1))
    }

    fn read(&self, content: &Content) -> Result<Duration, Wrong> {
        match content {
            Content::Text(text) | Content::Word(text) => self.parse(text),
            Content::Integer(Some(number)) => {
                Err(Wrong::new("a number alone does not say its unit").hint(format!("write \"{number}s\" for seconds")))
            }
            other => Err(Wrong::kind(other, "a duration")),
        }
    }

    fn show(&self, value: &Duration) -> String {
        format!("\"{}\"", show_duration(*value))
    }
}

// === whole numbers ===

/// Whole numbers that settings are made of.
pub(crate) trait Count: Sized {
    fn of(number: u64) -> Option<Self>;
    fn get(&self) -> u64;
}

macro_rules! count {
    ($($plain:ty),*; $($non_zero:ty = $inner:ty),*) => {
        $(impl Count for $plain {
            fn of(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
            fn get(&self) -> u64 {
                *self as u64
            }
        })*
        $(impl Count for $non_zero {
            fn of(number: u64) -> Option<Self> {
                <$inner>::try_from(number).ok().and_then(Self::new)
            }
            fn get(&self) -> u64 {
                <$non_zero>::get(*self) as u64
            }
        })*
    };
}
count!(u8, u16, u32, usize; NonZeroU8 = u8, NonZeroU16 = u16, NonZeroU32 = u32, NonZeroUsize = usize);

impl Count for Weight {
    fn of(number: u64) -> Option<Self> {
        number.try_into().ok().and_then(Self::new)
    }

    fn get(&self) -> u64 {
        Weight::get(*self).into()
    }
}

/// A whole number from the first to the second.
pub(crate) struct Whole(pub u64, pub u64);

/// [`Whole`] as a type of its own.
pub(crate) struct WholeOf<T>(pub Whole, std::marker::PhantomData<T>);

pub(crate) const fn whole<T: Count>(min: u64, max: u64) -> WholeOf<T> {
    WholeOf(Whole(min, max), std::marker::PhantomData)
}

impl<T: Count> Form for WholeOf<T> {
    type Out = T;

    fn allowed(&self) -> String {
        format!("a whole number of {} to {}", self.0.0, self.0.1)
    }

    fn read(&self, content: &Content) -> Result<T, Wrong> {
        let Whole(min, max) = self.0;
        let number = match content {
            Content::Integer(number) => *number,
            Content::Word(word) if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) => word.parse().ok(),
            Content::Word(_) => return Err(Wrong::new("it is not a whole number")),
            Content::Text(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(Wrong::kind(content, "a whole number").hint(format!("write it without quotes: {text}")));
            }
            other => return Err(Wrong::kind(other, "a whole number")),
        };
        // No number at all: more digits than an i128 takes.
        let number = number.unwrap_or(i128::MAX);
        if number < i128::from(min) {
            return Err(Wrong::new(format!("it is less than {min}")));
        }
        let number = u64::try_from(number).ok().filter(|number| *number <= max);
        number.and_then(T::of).ok_or_else(|| Wrong::new(format!("it is more than {max}")))
    }

    fn show(&self, value: &T) -> String {
        value.get().to_string()
    }
}

// === numbers with a fraction ===

/// A number that `read` takes.
pub(crate) struct Number<T> {
    pub allowed: &'static str,
    pub read: fn(f64) -> Option<T>,
    pub show: fn(&T) -> String,
}

impl<T> Form for Number<T> {
    type Out = T;

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }

    fn read(&self, content: &Content) -> Result<T, Wrong> {
        let number = match content {
            Content::Float(number) => *number,
            // Beyond 2^53 it is another number, and more than any setting takes.
            Content::Integer(Some(number)) => *number as f64,
            Content::Word(word) => word.parse().map_err(|_| Wrong::new("it is not a number"))?,
            Content::Text(text) if text.parse::<f64>().is_ok() => {
                return Err(Wrong::kind(content, "a number").hint(format!("write it without quotes: {text}")));
            }
            other => return Err(Wrong::kind(other, "a number")),
        };
        (self.read)(number).ok_or_else(|| Wrong::new("it is outside of that"))
    }

    fn show(&self, value: &T) -> String {
        (self.show)(value)
    }
}

// === yes and no ===

/// `true` or `false`.
pub(crate) struct YesNo;

impl Form for YesNo {
    type Out = bool;

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, content: &Content) -> Result<bool, Wrong> {
        match content {
            Content::Boolean(value) => Ok(*value),
            Content::Word(word) if word == "true" => Ok(true),
            Content::Word(word) if word == "false" => Ok(false),
            Content::Text(text) if matches!(text.as_str(), "true" | "false") => {
                Err(Wrong::kind(content, "true or false").hint(format!("write it without quotes: {text}")))
            }
            other => Err(Wrong::kind(other, "true or false")),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

// === one of a list ===

/// One of a few words.
pub(crate) struct Choice<T: 'static> {
    /// The words that are shown.
    pub words: &'static [(&'static str, T)],
    /// Second names.
    pub aliases: &'static [(&'static str, T)],
    /// Words that a later version takes.
    pub later: &'static [&'static str],
}

impl<T: Copy + PartialEq> Choice<T> {
    pub(crate) const fn of(words: &'static [(&'static str, T)]) -> Self {
        Self { words, aliases: &[], later: &[] }
    }

    pub(crate) fn parse(&self, text: &str) -> Result<T, Wrong> {
        let mut known = self.words.iter().chain(self.aliases);
        if let Some((_, value)) = known.clone().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        if self.later.contains(&text) {
            return Err(Wrong::new(format!("\"{text}\" is {NOT_AVAILABLE}")));
        }
        let wrong = Wrong::new("it is none of these");
        Err(match nearest(text, known.by_ref().map(|(word, _)| *word)) {
            Some(meant) => wrong.hint(format!("did you mean \"{meant}\"?")),
            None => wrong,
        })
    }
}

/// What is said of everything that the design knows and this version does not have.
pub(crate) const NOT_AVAILABLE: &str = "not available in this version";

impl<T: Copy + PartialEq> Form for Choice<T> {
    type Out = T;

    fn allowed(&self) -> String {
        let quoted = |(word, _): &(&str, T)| format!("\"{word}\"");
        let words: Vec<String> = self.words.iter().map(quoted).collect();
        let aliases: Vec<String> = self.aliases.iter().map(quoted).collect();
        if aliases.is_empty() { words.join(", ") } else { format!("{}; also {}", words.join(", "), aliases.join(", ")) }
    }

    fn read(&self, content: &Content) -> Result<T, Wrong> {
        match content {
            Content::Text(text) => self.parse(text),
            // The environment is often written in capitals.
            Content::Word(text) => self.parse(&text.to_ascii_lowercase()),
            other => Err(Wrong::kind(other, "a text")),
        }
    }

    fn show(&self, value: &T) -> String {
        self.words.iter().find(|(_, known)| known == value).map(|(word, _)| format!("\"{word}\"")).unwrap_or_default()
    }
}

// === texts with rules of their own ===

/// A text that `parse` takes.
pub(crate) struct Words<T> {
    pub allowed: &'static str,
    pub parse: fn(&str) -> Result<T, Wrong>,
    pub show: fn(&T) -> String,
    /// A whole number is taken too, as its digits.
    pub number_too: bool,
    /// It may hold a password.
    pub secret: bool,
}

impl<T> Words<T> {
    pub(crate) const fn of(allowed: &'static str, parse: fn(&str) -> Result<T, Wrong>, show: fn(&T) -> String) -> Self {
        Self { allowed, parse, show, number_too: false, secret: false }
    }
}

impl<T> Form for Words<T> {
    type Out = T;

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }

    fn read(&self, content: &Content) -> Result<T, Wrong> {
        match content {
            Content::Text(text) | Content::Word(text) => (self.parse)(text),
            Content::Integer(Some(number)) if self.number_too => (self.parse)(&number.to_string()),
            Content::Integer(Some(number)) => {
                Err(Wrong::kind(content, "a text").hint(format!("write it in quotes: \"{number}\"")))
            }
            other => Err(Wrong::kind(other, "a text")),
        }
    }

    fn show(&self, value: &T) -> String {
        (self.show)(value)
    }

    fn is_secret(&self) -> bool {
        self.secret
    }
}

/// A value as its own type reads it, with that type's refusal.
pub(crate) fn parsed<T>(text: &str) -> Result<T, Wrong>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Wrong::new(error.to_string()))
}

const NAME_ALLOWED: &str = "1 to 63 of a-z, 0-9, and after the first character also . _ -";

/// A name of a peer, pool, node, region or listener.
pub(crate) const fn name<T>() -> Words<T>
where
    T: FromStr + Display,
    T::Err: Display,
{
    fn parse<T>(text: &str) -> Result<T, Wrong>
    where
        T: FromStr,
        T::Err: Display,
    {
        parsed(text).map_err(|wrong| {
            let lower = text.to_ascii_lowercase().replace(' ', "-");
            if lower.parse::<T>().is_ok() { wrong.hint(format!("write \"{lower}\"")) } else { wrong }
        })
    }
    Words::of(NAME_ALLOWED, parse::<T>, quoted)
}

/// A value in quotes.
pub(crate) fn quoted(value: &impl Display) -> String {
    format!("\"{value}\"")
}

// === lists ===

/// A list of values of one form, with at most this many.
pub(crate) struct ListOf<F>(pub F, pub usize);

impl<F: Form> Form for ListOf<F> {
    type Out = Vec<F::Out>;

    fn allowed(&self) -> String {
        format!("a list, at most {} long, of {}", self.1, self.0.allowed())
    }

    fn read(&self, content: &Content) -> Result<Vec<F::Out>, Wrong> {
        let of_words: Vec<Value>;
        let list = match content {
            Content::List(list) => list,
            // The environment and flags have no brackets.
            Content::Word(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                of_words = words.map(Value::of_word).collect();
                &of_words
            }
            _ => return Err(Wrong::kind(content, "a list").hint("write it in brackets: [\"...\"]")),
        };
        read_list(&self.0, self.1, list)
    }

    fn show(&self, value: &Vec<F::Out>) -> String {
        show_list(&self.0, value)
    }
}

/// Every element, or what is wrong with each of those that are.
fn read_list<F: Form>(form: &F, max: usize, list: &[Value]) -> Result<Vec<F::Out>, Wrong> {
    if list.len() > max {
        return Err(Wrong::new(format!("it has {} elements", list.len())));
    }
    let mut wrongs: Vec<String> = Vec::new();
    let mut hint = None;
    let mut read = Vec::with_capacity(list.len());
    for Value { content, line, .. } in list {
        match form.read(content) {
            Ok(value) => read.push(value),
            Err(wrong) => {
                // What to write instead is said of the first.
                hint = hint.or(wrong.hint);
                wrongs.push(if *line == 0 { wrong.why } else { format!("line {line}: {}", wrong.why) });
            }
        }
    }
    if wrongs.is_empty() { Ok(read) } else { Err(Wrong { why: wrongs.join("; "), hint }) }
}

fn show_list<F: Form>(form: &F, list: &[F::Out]) -> String {
    let shown: Vec<String> = list.iter().map(|element| form.show(element)).collect();
    format!("[{}]", shown.join(", "))
}

/// One value, or a list of 1 to this many.
pub(crate) struct OneOrMore<F>(pub F, pub usize);

impl<F: Form> Form for OneOrMore<F> {
    type Out = Vec<F::Out>;

    fn allowed(&self) -> String {
        format!("one or a list of at most {} of {}", self.1, self.0.allowed())
    }

    fn read(&self, content: &Content) -> Result<Vec<F::Out>, Wrong> {
        let Content::List(list) = content else { return self.0.read(content).map(|one| vec![one]) };
        if list.is_empty() {
            return Err(Wrong::new("it is an empty list").hint("leave the key out where it is to make no difference"));
        }
        read_list(&self.0, self.1, list)
    }

    fn show(&self, value: &Vec<F::Out>) -> String {
        show_list(&self.0, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        let span = Span(Duration::from_millis(1), Duration::from_secs(86_400));
        for (text, ms) in
            [("1ms", 1), ("250ms", 250), ("5s", 5_000), ("2m", 120_000), ("24h", 86_400_000), ("1d", 86_400_000)]
        {
            assert_eq!(span.parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for (text, why) in [
            ("5", "a number alone does not say its unit"),
            ("", "it is not a duration"),
            ("s", "it is not a duration"),
            ("1.5s", "it is not a duration"),
            ("1h30m", "it is not a duration"),
            ("-5s", "it is not a duration"),
            ("5 weeks", "it is not a duration"),
            ("0ms", "it is less than 1ms"),
            ("25h", "it is more than 24h"),
            ("18446744073709551615d", "it is more than 24h"),
        ] {
            assert_eq!(span.parse(text).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_a_user_writes_it() {
        for (ms, shown) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1500ms"),
            (5_000, "5s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(ms)), shown);
        }
    }
}
