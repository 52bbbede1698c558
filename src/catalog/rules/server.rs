//! `[[server]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::{Content, Form, Origin, Section, Words, Wrong, name, parsed, quoted};
use crate::model::limits::{LABEL_BYTES_MAX, LABELS_MAX};
use crate::model::{RegionName, Server, ServerAddress, ServerId};

const ADDRESS: Words<ServerAddress> = Words::of(
    "a host name or an IP address, perhaps with a port: \"vpn-1.example\", \"10.0.0.1:51820\"",
    parsed,
    quoted,
);

/// Texts under names of the user's own.
struct Labels;

impl Form for Labels {
    type Out = BTreeMap<Arc<str>, Arc<str>>;

    fn allowed(&self) -> String {
        format!(
            "a table of at most {LABELS_MAX} texts, {{ provider = \"acme\" }}, each name and each text of at most \
             {LABEL_BYTES_MAX} bytes"
        )
    }

    fn read(&self, content: &Content) -> Result<Self::Out, Wrong> {
        let Content::Table(table) = content else { return Err(Wrong::kind(content, "a table")) };
        if table.entries.len() > LABELS_MAX {
            return Err(Wrong::new(format!("it has {} texts", table.entries.len())));
        }
        let mut labels = BTreeMap::new();
        for entry in &table.entries {
            let of = |wrong: Wrong| Wrong { why: format!("{:?}: {}", shortened(&entry.key), wrong.why), ..wrong };
            let Content::Text(text) = &entry.value.content else {
                return Err(of(Wrong::kind(&entry.value.content, "a text").hint("write it in quotes")));
            };
            label(&entry.key, text).map_err(of)?;
            labels.insert(Arc::from(entry.key.as_str()), Arc::from(text.as_str()));
        }
        Ok(labels)
    }

    fn show(&self, labels: &Self::Out) -> String {
        let shown: Vec<String> = labels.iter().map(|(name, text)| format!("{name:?} = {text:?}")).collect();
        if shown.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", shown.join(", ")) }
    }
}

fn label(name: &str, text: &str) -> Result<(), Wrong> {
    if name.is_empty() {
        Err(Wrong::new("a name cannot be empty"))
    } else if name.len().max(text.len()) > LABEL_BYTES_MAX {
        Err(Wrong::new(format!("it is longer than {LABEL_BYTES_MAX} bytes")))
    } else if name.chars().chain(text.chars()).any(char::is_control) {
        Err(Wrong::new("it holds a character that cannot be seen"))
    } else {
        Ok(())
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

/// What was read of one server; what is `None` was wrong and is reported.
pub(crate) struct ServerRead {
    pub id: Option<(ServerId, Origin)>,
    pub server: Option<Server>,
}

pub(super) fn servers(s: &mut Section<'_, '_, '_>) -> Vec<ServerRead> {
    s.long_list(
        "server",
        "What a node stands on and can be moved between: the VPN server of an exit node, a host. Kept in the catalog; this \
         version moves no node.",
        server,
    )
}

fn server(s: &mut Section<'_, '_, '_>) -> ServerRead {
    let id: Option<ServerId> = s.required("id", &name(), "Its id, unique in the catalog.");
    if let Some(id) = &id {
        s.called("server", id, "");
    }
    let region: Option<RegionName> = s.required("region", &name(), "Where it is.");
    let address = s.required("address", &ADDRESS, "Where it is reached.");
    let labels = s.key("labels", &Labels, BTreeMap::new(), "What is to be known of it, for drivers and for people.");
    let origin = s.origin_of("id");
    let server = match (&id, region, address) {
        (Some(id), Some(region), Some(address)) => Some(Server { id: id.clone(), region, address, labels }),
        _ => None,
    };
    ServerRead { id: id.map(|id| (id, origin)), server }
}
