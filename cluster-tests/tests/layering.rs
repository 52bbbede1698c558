//! The layers of the house: imports run only downward, siblings never import one another, actors stay in `actor.rs`.
//!
//! Reads the paths in `src/` as text: `crate::x`, `crate::{x, y}`, and `super::super` as far as it leaves its folder.
//! Comments, and what stands in strings, count for nothing; tests obey like everything else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every folder that `src/` may have, with its layer. A path may lead to a lower layer or into its own folder.
const LAYERS: &[(u8, &[&str])] = &[
    (10, &["cli"]),
    (9, &["config"]),
    (8, &["api", "dashboard"]),
    (7, &["peer"]),
    (6, &["alert", "failover", "health", "history", "proxy", "speed"]),
    (5, &["catalog"]),
    (4, &["driver", "election", "gossip", "probe", "view"]),
    (3, &["link"]),
    (2, &["balance", "limit", "route"]),
    (1, &["document", "geo", "host", "telemetry", "tls", "wire"]),
    (0, &["model"]),
];

/// The layer of `lib.rs` and `main.rs`, and with it of everything that lives in the root of the crate.
const TOP: u8 = 10;

/// Folders that decide and do not do: no runtime there, but in `actor.rs`.
const DECIDING: &[&str] =
    &["balance", "catalog", "config", "document", "election", "failover", "limit", "model", "route", "view", "wire"];

/// Files of deciding folders that wait on behalf of whoever asks: the runtime is all that they are about.
const WAITING: &[&str] = &["catalog/handle.rs", "failover/handle.rs", "failover/hands.rs"];

/// Files that may name ractor, beside every `actor.rs`.
const SUPERVISION: &str = "peer/supervise.rs";

fn layer_of(folder: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, folders)| folders.contains(&folder)).map(|(layer, _)| *layer)
}

/// What is wrong with a file, one line each. `file` is its path below `src/`.
fn faults_of(file: &str, text: &str) -> Vec<String> {
    let folder = match file.split_once('/') {
        Some((folder, _)) => folder,
        None if matches!(file, "fuzzing.rs" | "lib.rs" | "main.rs" | "start.rs") => "",
        None => {
            return vec![format!("src/{file}: only fuzzing.rs, lib.rs, main.rs and start.rs lie outside of a folder")];
        }
    };
    let Some(layer) = (if folder.is_empty() { Some(TOP) } else { layer_of(folder) }) else {
        return vec![format!("src/{file}: {folder}/ has no layer; it is not in the table")];
    };

    let tokens = tokens_of(text);
    let mut faults = Vec::new();
    for import in imports_of(&module_of(file), &tokens) {
        let Import { line, target } = import;
        if target == folder {
            continue;
        }
        match layer_of(&target) {
            Some(lower) if lower < layer || folder.is_empty() => {}
            Some(same) if same == layer => {
                faults.push(format!("src/{file}:{line}: {folder}/ names its sibling {target}/, both of layer {layer}"));
            }
            Some(upper) => {
                faults.push(format!("src/{file}:{line}: {folder}/ of layer {layer} names {target}/ of layer {upper}"));
            }
            // Something that lives in lib.rs itself.
            None if layer == TOP => {}
            None => {
                faults.push(format!("src/{file}:{line}: {folder}/ of layer {layer} names crate::{target}, of the top"));
            }
        }
    }

    let name = file.rsplit('/').next().unwrap_or(file);
    for Token { line, word } in &tokens {
        if *word == "ractor" && name != "actor.rs" && file != SUPERVISION {
            faults.push(format!("src/{file}:{line}: names ractor, which is for actor.rs and {SUPERVISION}"));
        }
        let is_edge = name == "actor.rs" || file.contains("/actor/") || WAITING.contains(&file);
        if *word == "tokio" && !is_edge && DECIDING.contains(&folder) {
            faults.push(format!("src/{file}:{line}: names tokio, and {folder}/ decides without a runtime"));
        }
    }
    faults
}

/// The module that a file is: `["balance", "live"]` of `balance/live.rs`, `["balance"]` of `balance/mod.rs`.
fn module_of(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// A path that leads to the root of the crate, and what it names there.
#[derive(Debug, Eq, PartialEq)]
struct Import {
    line: usize,
    target: String,
}

fn imports_of(file: &[String], tokens: &[Token<'_>]) -> Vec<Import> {
    let mut imports = Vec::new();
    // Inline modules that are open, each with the depth of braces at which it closes.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word);
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|&closes| closes < depth + 1);
            }
            "mod" if word(at + 2) == "{" => {
                depth += 1;
                inline.push(depth);
                at += 3;
                continue;
            }
            // A path begins here, unless it goes on from before.
            start @ ("crate" | "super" | "self") if word(at + 1) == "::" && (at == 0 || word(at - 1) != "::") => {
                let mut above = match start {
                    "crate" => 0,
                    "super" => (file.len() + inline.len()).saturating_sub(1),
                    _ => file.len() + inline.len(),
                };
                at += 2;
                while word(at) == "super" && word(at + 1) == "::" {
                    above = above.saturating_sub(1);
                    at += 2;
                }
                if above == 0 {
                    imports.extend(first_words(tokens, at));
                }
                // What follows is looked at again: a brace must be counted.
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    imports
}

/// The names that stand first in what follows a `::`: one, or those of a `{...}`.
fn first_words(tokens: &[Token<'_>], at: usize) -> Vec<Import> {
    let import = |token: &Token<'_>| Import { line: token.line, target: token.word.to_owned() };
    match tokens.get(at) {
        Some(token) if token.word == "{" => {
            let mut words = Vec::new();
            let mut depth = 0_usize;
            let mut first = false;
            for token in &tokens[at..] {
                match token.word {
                    "{" => {
                        depth += 1;
                        first = depth == 1;
                    }
                    "}" if depth == 1 => break,
                    "}" => depth -= 1,
                    "," => first = depth == 1,
                    _ if first => {
                        words.push(import(token));
                        first = false;
                    }
                    _ => {}
                }
            }
            words
        }
        Some(token) => vec![import(token)],
        None => Vec::new(),
    }
}

/// A word or a sign of the code.
#[derive(Clone, Copy, Debug)]
struct Token<'t> {
    line: usize,
    word: &'t str,
}

/// The code without its comments and strings: words, `::`, and every other sign for itself.
fn tokens_of(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let is_word = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80);
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + block_comment(rest)
        } else if let Some(length) = string(rest) {
            at + length
        } else if is_word(at) {
            let end = (at..bytes.len()).find(|&at| !is_word(at)).unwrap_or(bytes.len());
            // `r#type` is the word `type`.
            if &text[at..end] == "r" && bytes.get(end) == Some(&b'#') {
                at = end + 1;
                continue;
            }
            tokens.push(Token { line, word: &text[at..end] });
            end
        } else if rest.starts_with("::") {
            tokens.push(Token { line, word: "::" });
            at + 2
        } else {
            if !bytes[at].is_ascii_whitespace() {
                tokens.push(Token { line, word: &text[at..=at] });
            }
            at + 1
        };
        line += text[at..end].bytes().filter(|b| *b == b'\n').count();
        at = end;
    }
    tokens
}

/// The length of the comment, others within it included.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the string or character that `text` begins with, if it begins with one.
fn string(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).unwrap_or_default();
        let raw = prefix.ends_with('r');
        after.starts_with('"') || (raw && after.trim_start_matches('#').starts_with('"') && after.starts_with('#'))
    });
    if let Some(prefix) = prefix {
        let body = &text[prefix.len()..];
        let hashes = body.len() - body.trim_start_matches('#').len();
        let start = prefix.len() + hashes + 1;
        if prefix.ends_with('r') {
            let close = format!("\"{}", "#".repeat(hashes));
            return Some(text[start..].find(&close).map_or(text.len(), |at| start + at + close.len()));
        }
        return Some(closing(bytes, start, b'"'));
    }
    let quote = if text.starts_with("b'") { 1 } else { 0 };
    if bytes.get(quote) != Some(&b'\'') {
        return None;
    }
    // `'a'` is a character, `'a` a lifetime.
    let inner = text[quote + 1..].chars().next()?;
    let is_character = inner == '\\' || text[quote + 1 + inner.len_utf8()..].starts_with('\'');
    is_character.then(|| closing(bytes, quote + 1, b'\''))
}

/// Where the quote closes that opened before `start`; a backslash takes the next byte with it.
fn closing(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn the_house_obeys_its_layers() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let mut files = Vec::new();
    rust_files(&src, &mut files).unwrap();
    assert!(files.len() > 20, "src/ was not found");
    let mut imports = 0;
    let mut faults = Vec::new();
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(&path).unwrap();
        imports += imports_of(&module_of(&file), &tokens_of(&text)).len();
        faults.extend(faults_of(&file, &text));
    }
    assert!(imports > 20, "a house without imports was not read");
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn a_path_upward_or_to_a_sibling_is_found_in_every_spelling() {
    for (file, text, said) in [
        (
            "balance/live.rs",
            "use crate::peer::Handles;",
            "src/balance/live.rs:1: balance/ of layer 2 names peer/ of layer 7",
        ),
        (
            "health/actor.rs",
            "\nuse crate::proxy::Counts;",
            "src/health/actor.rs:2: health/ names its sibling proxy/, both of layer 6",
        ),
        (
            "view/mod.rs",
            "use crate::{\n    model::{Pool, Node},\n    probe::tcp,\n};",
            "src/view/mod.rs:3: view/ names its sibling probe/, both of layer 4",
        ),
        (
            "model/id.rs",
            "use crate::{self as house};",
            "src/model/id.rs:1: model/ of layer 0 names crate::self, of the top",
        ),
        ("model/id.rs", "use crate::*;", "src/model/id.rs:1: model/ of layer 0 names crate::*, of the top"),
        (
            "model/id.rs",
            "fn f() { let _ = crate::start; }",
            "src/model/id.rs:1: model/ of layer 0 names crate::start, of the top",
        ),
        ("model/id.rs", "use super::super::host::now;", "src/model/id.rs:1: model/ of layer 0 names host/ of layer 1"),
        ("model/mod.rs", "use super::host::now;", "src/model/mod.rs:1: model/ of layer 0 names host/ of layer 1"),
        (
            "model/mod.rs",
            "pub(super) use self::super::host;",
            "src/model/mod.rs:1: model/ of layer 0 names host/ of layer 1",
        ),
        (
            "model/id.rs",
            "mod tests {\n    use super::super::super::host;\n}",
            "src/model/id.rs:2: model/ of layer 0 names host/ of layer 1",
        ),
        (
            "model/id.rs",
            "mod a { fn f() {} }\nuse super::super::tls;",
            "src/model/id.rs:2: model/ of layer 0 names tls/ of layer 1",
        ),
        (
            "proxy/http/exchange.rs",
            "use super::super::super::api::X;",
            "src/proxy/http/exchange.rs:1: proxy/ of layer 6 names api/ of layer 8",
        ),
        (
            "tls/mod.rs",
            "fn f(now: fn() -> crate::host::Dice) {}",
            "src/tls/mod.rs:1: tls/ names its sibling host/, both of layer 1",
        ),
        (
            "tls/mod.rs",
            "macro_rules! m { () => { $crate::api::f() } }",
            "src/tls/mod.rs:1: tls/ of layer 1 names api/ of layer 8",
        ),
        (
            "model/id.rs",
            "const Q: char = '\"'; use crate::tls;",
            "src/model/id.rs:1: model/ of layer 0 names tls/ of layer 1",
        ),
        (
            "model/id.rs",
            "fn f<'a>(x: &'a str) {} use crate::tls;",
            "src/model/id.rs:1: model/ of layer 0 names tls/ of layer 1",
        ),
    ] {
        assert_eq!(faults_of(file, text), [said], "{file}\n{text}");
    }
}

#[test]
fn paths_downward_and_within_a_folder_are_fine() {
    for (file, text) in [
        ("peer/mod.rs", "use crate::{proxy, health::Actor, model::{Node, Pool}}; use crate::peer::supervise;"),
        ("proxy/http/exchange.rs", "use super::super::counts; use super::codec; use crate::proxy::Counts;"),
        ("balance/live.rs", "mod tests { use super::super::hash; use super::*; }"),
        ("lib.rs", "pub mod api; pub use config::Settings; use crate::peer::X;"),
        ("main.rs", "fn main() { evenkeel::cli::main() }"),
        ("cli/run.rs", "use crate::start; use crate::config::load;"),
        ("model/id.rs", "// use crate::peer;\n/* crate::api /* crate::api */ crate::api */ fn f() {}"),
        (
            "model/id.rs",
            "const A: &str = \"crate::peer \\\" crate::api\"; const B: &str = r#\"crate::api \" crate::api\"#;",
        ),
        ("model/id.rs", "/// [`crate::peer::Handles`]\npub(crate) fn f() {}"),
    ] {
        assert_eq!(faults_of(file, text), Vec::<String>::new(), "{file}\n{text}");
    }
}

#[test]
fn a_folder_or_file_outside_of_the_table_is_found() {
    assert_eq!(faults_of("utils/mod.rs", ""), ["src/utils/mod.rs: utils/ has no layer; it is not in the table"]);
    assert_eq!(
        faults_of("errors.rs", ""),
        ["src/errors.rs: only fuzzing.rs, lib.rs, main.rs and start.rs lie outside of a folder"]
    );
}

#[test]
fn a_runtime_where_none_belongs_is_found() {
    for (file, text, said) in [
        (
            "peer/wiring.rs",
            "use ractor::Actor;",
            "src/peer/wiring.rs:1: names ractor, which is for actor.rs and peer/supervise.rs",
        ),
        ("lib.rs", "pub use ractor;", "src/lib.rs:1: names ractor, which is for actor.rs and peer/supervise.rs"),
        (
            "balance/queue.rs",
            "use tokio::sync::Notify;",
            "src/balance/queue.rs:1: names tokio, and balance/ decides without a runtime",
        ),
        (
            "view/choose.rs",
            "async fn f() { ::tokio::task::yield_now().await }",
            "src/view/choose.rs:1: names tokio, and view/ decides without a runtime",
        ),
    ] {
        assert_eq!(faults_of(file, text), [said]);
    }
    for (file, text) in [
        ("view/actor.rs", "use ractor::Actor; use tokio::sync::mpsc;"),
        ("peer/supervise.rs", "use ractor::ActorRef;"),
        ("host/names.rs", "use tokio::net::UdpSocket;"),
        ("view/choose.rs", "// no tokio, no ractor"),
    ] {
        assert_eq!(faults_of(file, text), Vec::<String>::new());
    }
}
