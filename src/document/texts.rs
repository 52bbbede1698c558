//! A table of texts under names of the user's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::form::{Form, Wrong};
use super::tree::Content;

/// The form of such a table.
pub(crate) struct Texts {
    /// One, for whoever wonders.
    pub example: &'static str,
    /// How many there may be.
    pub texts_max: usize,
    /// Bytes of each name, and of each text.
    pub bytes_max: usize,
    /// The texts may be secrets: only their names are shown.
    pub secret: bool,
}

impl Form for Texts {
    type Out = BTreeMap<Arc<str>, Arc<str>>;

    fn allowed(&self) -> String {
        let Self { example, texts_max, bytes_max, .. } = self;
        format!("a table of at most {texts_max} texts, {example}, each name and each text of at most {bytes_max} bytes")
    }

    fn read(&self, content: &Content) -> Result<Self::Out, Wrong> {
        let Content::Table(table) = content else { return Err(Wrong::kind(content, "a table")) };
        if table.entries.len() > self.texts_max {
            return Err(Wrong::new(format!("it has {} texts", table.entries.len())));
        }
        let mut texts = BTreeMap::new();
        for entry in &table.entries {
            let of = |wrong: Wrong| Wrong { why: format!("{:?}: {}", shortened(&entry.key), wrong.why), ..wrong };
            let Content::Text(text) = &entry.value.content else {
                return Err(of(Wrong::kind(&entry.value.content, "a text").hint("write it in quotes")));
            };
            self.check(&entry.key, text).map_err(of)?;
            texts.insert(Arc::from(entry.key.as_str()), Arc::from(text.as_str()));
        }
        Ok(texts)
    }

    fn show(&self, texts: &Self::Out) -> String {
        let shown = |(name, text): (&Arc<str>, &Arc<str>)| match self.secret {
            true => format!("{name:?} = (not shown)"),
            false => format!("{name:?} = {text:?}"),
        };
        let shown: Vec<String> = texts.iter().map(shown).collect();
        if shown.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", shown.join(", ")) }
    }

    fn is_secret(&self) -> bool {
        self.secret
    }
}

impl Texts {
    fn check(&self, name: &str, text: &str) -> Result<(), Wrong> {
        if name.is_empty() {
            Err(Wrong::new("a name cannot be empty"))
        } else if name.len().max(text.len()) > self.bytes_max {
            Err(Wrong::new(format!("it is longer than {} bytes", self.bytes_max)))
        } else if name.chars().chain(text.chars()).any(char::is_control) {
            Err(Wrong::new("it holds a character that cannot be seen"))
        } else {
            Ok(())
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}
