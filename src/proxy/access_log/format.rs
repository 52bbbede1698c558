//! How a line looks: a format with a name, or a text of the user's in which words in braces stand for something.

use std::fmt;
use std::str::FromStr;

use super::line::Field;
use crate::model::limits::{LOG_FORMAT_BYTES_MAX, LOG_PLACEHOLDERS_MAX};

/// How a line looks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Format {
    /// One object of JSON.
    Json,
    /// The Common Log Format of Apache and NCSA httpd.
    Common,
    /// The same with referer and user agent behind it.
    Combined,
    /// The user's own.
    Own(Own),
}

/// A format of the user's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Own {
    written: String,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Field(Field),
}

/// Why a text is no format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Neither a name nor a text with words in braces.
    #[error("it is neither of these, and nothing in it stands for something of the request")]
    Unknown,
    /// A brace that is not closed, or closes nothing.
    #[error("a brace in it is not closed, or closes nothing; a brace of the text itself is written twice")]
    Brace,
    /// A word that stands for nothing.
    #[error("{{{0}}} stands for nothing; known are {known}", known = Field::known())]
    Word(String),
    /// A field that proves who somebody is.
    #[error("{{{0}}} is a secret of the client's, and secrets are not logged")]
    Secret(String),
    /// A character that would end the line.
    #[error("a line has no line end or other control character in it")]
    Control,
    /// Too long.
    #[error("it is longer than {LOG_FORMAT_BYTES_MAX} bytes, or has more than {LOG_PLACEHOLDERS_MAX} words in braces")]
    TooLong,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "json" => Ok(Self::Json),
            "common" => Ok(Self::Common),
            "combined" => Ok(Self::Combined),
            own => own.parse().map(Self::Own),
        }
    }
}

impl FromStr for Own {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if text.len() > LOG_FORMAT_BYTES_MAX {
            return Err(FormatError::TooLong);
        }
        if text.chars().any(|character| character.is_control() && character != '\t') {
            return Err(FormatError::Control);
        }
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let inside = brace.strip_prefix('{').ok_or(FormatError::Brace)?;
            let (word, after) = inside.split_once('}').ok_or(FormatError::Brace)?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(Field::of(word)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        match pieces.iter().filter(|piece| matches!(piece, Piece::Field(_))).count() {
            0 => Err(FormatError::Unknown),
            1..=LOG_PLACEHOLDERS_MAX => Ok(Self { written: text.to_owned(), pieces }),
            _ => Err(FormatError::TooLong),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Own(own) => &own.written,
        })
    }
}
