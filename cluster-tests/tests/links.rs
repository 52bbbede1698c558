//! The documents: every link that leads to a file of this repository finds it.

use std::fs;
use std::path::{Path, PathBuf};

/// The targets of all links of a document, in order: `[text](target)` and `[name]: target`, but none that stands in code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        // Every other part lies between back-ticks.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        let inline = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        // Behind the target a title may stand.
        found.extend(
            definition
                .into_iter()
                .chain(inline)
                .filter_map(|target| target.split_whitespace().next())
                .map(str::to_owned),
        );
    }
    found
}

/// What is wrong with the links of a document at `file`, one line each.
fn faults(file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().expect("a file lies in a folder");
    let fault = |target: String| {
        let path = target.split('#').next().unwrap_or_default();
        let is_outside = path.contains("://") || path.starts_with("mailto:");
        if path.is_empty() || is_outside {
            return None;
        }
        let exists = !path.starts_with('/') && folder.join(path).exists();
        (!exists).then(|| format!("{}: {target} leads nowhere", file.display()))
    };
    targets(text).into_iter().filter_map(fault).collect()
}

fn documents_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of this repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            documents_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_to_a_file_finds_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member lies in its workspace");
    let mut documents = vec![root.join("README.md")];
    documents_below(&root.join("docs"), &mut documents);
    let texts = documents.iter().map(|file| (file, fs::read_to_string(file).expect("a document is text")));
    let mut links = 0;
    let mut wrong = Vec::new();
    for (file, text) in texts {
        links += targets(&text).len();
        wrong.extend(faults(file, &text));
    }
    assert!(links > 0, "the README alone has some");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_is_seen_wherever_it_may_stand_and_code_is_none() {
    let text = "See [a](one.md), [b](two/three.md#part \"title\") and ![c](four.png).\n[d]: five.md\n\
                `[code](no.md)` [e](#here) [f](https://example.com/x)\n```text\n[fenced](no.md)\n```\n[g](six)\n";
    let expected = ["one.md", "two/three.md#part", "four.png", "five.md", "#here", "https://example.com/x", "six"];
    let mut sorted = targets(text);
    sorted.sort_unstable();
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);

    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let good = "[a](Cargo.toml) [b](src/lib.rs#top) [c](..) [d](#x) [e](https://example.com/none)";
    assert_eq!(faults(&here, good), [""; 0]);
    assert_eq!(faults(&here, "[a](none.md) [b](/etc/passwd) [c](src/none.rs#top)").len(), 3);
}
