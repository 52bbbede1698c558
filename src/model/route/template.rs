//! Texts in which words in braces stand for something of the request.

use std::fmt;
use std::str::FromStr;

use super::super::limits::TEMPLATE_BYTES_MAX;

/// Something of a request that a [`Template`] can say.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Variable {
    /// The client's address.
    Client,
    /// The host that the request names, without the port.
    Host,
    /// The same with the port, where it names one.
    Authority,
    /// Its path as it was sent.
    Path,
    /// Path and query as they were sent.
    Target,
    /// `http` or `https`.
    Scheme,
    /// The name of the listener.
    Listener,
    /// The name of the route.
    Route,
}

impl Variable {
    /// Every variable under the word that stands for it.
    pub const ALL: [(&'static str, Self); 8] = [
        ("client", Self::Client),
        ("host", Self::Host),
        ("authority", Self::Authority),
        ("path", Self::Path),
        ("target", Self::Target),
        ("scheme", Self::Scheme),
        ("listener", Self::Listener),
        ("route", Self::Route),
    ];
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Piece {
    /// It stands as it is.
    Text(Box<str>),
    /// It stands for something.
    Variable(Variable),
}

/// A text such as `https://{host}{target}`. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Template(Box<[Piece]>);

/// Why a text is no template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// More than [`TEMPLATE_BYTES_MAX`] bytes.
    #[error("it is longer than {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// A character that may stand in no field of a head.
    #[error("it holds a character that cannot be seen")]
    Invisible,
    /// A word that stands for nothing.
    #[error("{{{word}}} stands for nothing; there are {}", words())]
    Unknown {
        /// It.
        word: String,
    },
    /// A brace without its other one.
    #[error("a brace has no other one; write {{{{ or }}}} for a brace itself")]
    Brace,
}

fn words() -> String {
    Variable::ALL.map(|(word, _)| format!("{{{word}}}")).join(", ")
}

impl Template {
    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether it takes the host from the request.
    pub fn names_host(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Variable(Variable::Host | Variable::Authority)))
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(TemplateError::Invisible);
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let behind = &rest[at + 1..];
            if let Some(after) = behind.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (word, after) = behind.split_once('}').filter(|_| brace == "{").ok_or(TemplateError::Brace)?;
            let known = Variable::ALL.iter().find(|(known, _)| *known == word);
            let (_, variable) = known.ok_or_else(|| TemplateError::Unknown { word: word.to_owned() })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::Variable(*variable));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces.into()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Variable(variable) => {
                    let word = Variable::ALL.iter().find(|(_, known)| known == variable).map_or("", |(word, _)| word);
                    write!(f, "{{{word}}}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_stand_for_something_and_double_braces_for_themselves() {
        let template: Template = "https://{host}{target}".parse().unwrap();
        assert_eq!(
            template.pieces(),
            [Piece::Text("https://".into()), Piece::Variable(Variable::Host), Piece::Variable(Variable::Target)]
        );
        for text in ["", "plain", "{client}", "a {{literal}} {scheme} b"] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
        assert_eq!("{{a}}".parse::<Template>().unwrap().pieces(), [Piece::Text("{a}".into())]);
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        assert_eq!("{hosts}".parse::<Template>(), Err(TemplateError::Unknown { word: "hosts".into() }));
        for text in ["{", "}", "{host", "host}", "a}b{c}"] {
            assert_eq!(text.parse::<Template>(), Err(TemplateError::Brace), "{text}");
        }
        assert_eq!("a\r\nb".parse::<Template>(), Err(TemplateError::Invisible));
    }
}
