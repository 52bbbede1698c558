//! Texts of a container in which words in braces stand for something of the effect that it is created for.

use std::fmt;
use std::str::FromStr;

use super::super::effect::{Effect, ServerAt};
use crate::model::{Host, ServerAddress};

/// Bytes of a text with words in braces: an environment may carry a certificate.
const TEMPLATE_BYTES_MAX: usize = 32 * 1024;
/// Before the name of a label of a server.
const LABEL: &str = "server.labels.";

/// Something that a word in braces stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Word {
    /// The address of the server, as users wrote it.
    ServerAddress,
    /// Its host; an IPv6 address without brackets.
    ServerHost,
    /// Its port.
    ServerPort,
    /// Its id.
    ServerId,
    /// The text of a label of it.
    ServerLabel(Box<str>),
    /// The node.
    Node,
    /// The node's pool.
    Pool,
    /// The node's region.
    Region,
    /// The plan.
    Intent,
}

/// Every word that is not a label.
const WORDS: [(&str, Word); 8] = [
    ("server.address", Word::ServerAddress),
    ("server.host", Word::ServerHost),
    ("server.port", Word::ServerPort),
    ("server.id", Word::ServerId),
    ("node", Word::Node),
    ("pool", Word::Pool),
    ("region", Word::Region),
    ("intent", Word::Intent),
];

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(Box<str>),
    Word(Word),
}

/// A text such as `wg://{server.host}:{server.port}`. `{{` and `}}` stand for braces.
#[derive(Clone, Eq, PartialEq)]
pub struct Template(Box<[Piece]>);

/// Why a text is no template. It says where and not what: the text may be a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// More than 32 KiB.
    #[error("it is longer than {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// No environment and no command can hold that byte.
    #[error("it holds a zero byte")]
    Zero,
    /// A word that stands for nothing.
    #[error("the word in braces at character {at} stands for nothing; there are {}", words())]
    Unknown {
        /// The character, counted from 1.
        at: usize,
    },
    /// A brace without its other one.
    #[error("the brace at character {at} has no other one; write {{{{ or }}}} for a brace itself")]
    Brace {
        /// The character, counted from 1.
        at: usize,
    },
}

fn words() -> String {
    let plain = WORDS.iter().map(|(word, _)| format!("{{{word}}}"));
    plain.chain([format!("{{{LABEL}NAME}}")]).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// What it says in this effect; else why a word of it stands for nothing there.
    pub(super) fn fill(&self, effect: &Effect) -> Result<String, String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Word(word) => filled.push_str(&word.of(effect)?),
            }
        }
        Ok(filled)
    }
}

impl Word {
    fn of(&self, effect: &Effect) -> Result<String, String> {
        let server = || {
            effect
                .to
                .as_ref()
                .ok_or_else(|| format!("{self} stands for nothing: the plan {} has no server", effect.intent))
        };
        let address = |server: &ServerAt| {
            let read = server.address.parse::<ServerAddress>();
            read.map_err(|error| format!("{self} stands for nothing: the address of server {}: {error}", server.id))
        };
        Ok(match self {
            Self::ServerAddress => server()?.address.clone(),
            Self::ServerHost => match address(server()?)?.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.to_string(),
            },
            Self::ServerPort => {
                let server = server()?;
                let port = address(server)?.port.ok_or_else(|| {
                    format!("{self} stands for nothing: the address of server {} has no port", server.id)
                })?;
                port.to_string()
            }
            Self::ServerId => server()?.id.to_string(),
            Self::ServerLabel(label) => {
                let server = server()?;
                let text = server.labels.get(&**label);
                text.ok_or_else(|| format!("{self} stands for nothing: server {} has no such label", server.id))?
                    .to_string()
            }
            Self::Node => effect.node.id.to_string(),
            Self::Pool => effect.node.pool.to_string(),
            Self::Region => effect.node.region.to_string(),
            Self::Intent => effect.intent.to_string(),
        })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerLabel(label) => write!(f, "{{{LABEL}{label}}}"),
            plain => {
                let word = WORDS.iter().find(|(_, known)| known == plain).map_or("", |(word, _)| word);
                write!(f, "{{{word}}}")
            }
        }
    }
}

impl FromStr for Word {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        if let Some(label) = word.strip_prefix(LABEL).filter(|label| !label.is_empty()) {
            return Ok(Self::ServerLabel(label.into()));
        }
        WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, word)| word).ok_or(())
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        if text.contains('\0') {
            return Err(TemplateError::Zero);
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(found) = rest.find(['{', '}']) {
            let at = text[..text.len() - rest.len() + found].chars().count() + 1;
            plain.push_str(&rest[..found]);
            let brace = &rest[found..=found];
            let behind = &rest[found + 1..];
            if let Some(after) = behind.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (word, after) = behind.split_once('}').filter(|_| brace == "{").ok_or(TemplateError::Brace { at })?;
            let word = word.parse().map_err(|()| TemplateError::Unknown { at })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::Word(word));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces.into()))
    }
}

/// Without its text, which may be a secret.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({} pieces)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{effect, server};
    use super::*;
    use crate::driver::effect::Action;

    fn filled(text: &str, effect: &Effect) -> Result<String, String> {
        text.parse::<Template>().unwrap_or_else(|error| panic!("{text}: {error}")).fill(effect)
    }

    #[test]
    fn words_in_braces_stand_for_the_server_the_node_and_the_plan() {
        let mut effect = effect(Action::Switch, 42);
        effect.to = Some(server("vpn-3", "[fd00::7]:51820", &[("public key", "abc=")]));
        for (text, meant) in [
            ("", ""),
            ("plain", "plain"),
            ("{server.id} {server.address}", "vpn-3 [fd00::7]:51820"),
            ("{server.host}|{server.port}", "fd00::7|51820"),
            ("{server.labels.public key}", "abc="),
            ("{node}/{pool}/{region}/{intent}", "us-1/exits/us/i42"),
            (r#"{{"node":"{node}"}}"#, r#"{"node":"us-1"}"#),
            ("line\n{node}", "line\nus-1"),
        ] {
            assert_eq!(filled(text, &effect).as_deref(), Ok(meant), "{text}");
        }
        effect.to = Some(server("vpn-4", "VPN-4.example", &[]));
        assert_eq!(filled("{server.host}", &effect).as_deref(), Ok("vpn-4.example"));
    }

    #[test]
    fn what_the_effect_does_not_have_is_said_and_not_left_empty() {
        let mut effect = effect(Action::Switch, 42);
        effect.to = None;
        assert_eq!(
            filled("a {server.host}", &effect).unwrap_err(),
            "{server.host} stands for nothing: the plan i42 has no server"
        );
        assert_eq!(filled("{node}", &effect).as_deref(), Ok("us-1"), "nobody asks for a server");
        effect.to = Some(server("vpn-3", "10.0.0.3", &[]));
        let no_port = filled("{server.port}", &effect).unwrap_err();
        assert!(no_port.contains("{server.port}") && no_port.contains("vpn-3 has no port"), "{no_port}");
        let no_label = filled("{server.labels.config}", &effect).unwrap_err();
        assert!(no_label.contains("{server.labels.config}") && no_label.contains("no such label"), "{no_label}");
        effect.to = Some(server("vpn-3", "a b", &[]));
        assert!(filled("{server.host}", &effect).unwrap_err().contains("the address of server vpn-3"));
    }

    #[test]
    fn a_word_that_stands_for_nothing_is_refused_by_its_place_alone() {
        assert_eq!("{nodes}".parse::<Template>(), Err(TemplateError::Unknown { at: 1 }));
        assert_eq!("ä {server.labels.}".parse::<Template>(), Err(TemplateError::Unknown { at: 3 }));
        for (text, at) in [("{", 1), ("}", 1), ("{node", 1), ("node}", 5), ("a}b{c}", 2), ("{node}}", 7)] {
            assert_eq!(text.parse::<Template>(), Err(TemplateError::Brace { at }), "{text}");
        }
        assert_eq!("a\0b".parse::<Template>(), Err(TemplateError::Zero));
        assert_eq!("x".repeat(TEMPLATE_BYTES_MAX + 1).parse::<Template>(), Err(TemplateError::TooLong));
        let told = "hun{ter}2".parse::<Template>().unwrap_err().to_string();
        assert!(!told.contains("ter}"), "{told}");
        let shown = format!("{:?}", "secret {node}".parse::<Template>().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
