//! `evenkeel check`: every fault of the settings at once; starts nothing.

use std::io::{self, Write};

use serde_json::json;

use super::args::Check;
use super::outcome::Failure;
use crate::config::{self, Flags, Sources};

pub(super) fn check(args: &Check) -> Result<(), Failure> {
    let file = args.file.display();
    let sources = Sources::of_process(Some(args.file.clone()), Flags::default());
    let mut out = io::stdout().lock();
    match (config::load(&sources), args.json) {
        (Ok(loaded), true) => {
            let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
            Ok(writeln!(out, "{}", json!({ "ok": true, "warnings": warnings, "faults": [] }))?)
        }
        (Ok(loaded), false) => {
            for warning in &loaded.warnings {
                writeln!(out, "{warning}")?;
            }
            let (peer, nodes) = (&loaded.settings.peer, loaded.settings.peer.catalog.nodes().count());
            let (listeners, pools) = (peer.proxy.listeners.len(), peer.catalog.pools().len());
            Ok(writeln!(out, "{file} is fine: listeners {listeners}, pools {pools}, nodes {nodes}")?)
        }
        (Err(faults), true) => {
            writeln!(out, "{}", json!({ "ok": false, "warnings": [], "faults": faults }))?;
            Err(Failure::told_settings())
        }
        (Err(faults), false) => Err(Failure::Settings(faults.to_string())),
    }
}
