//! Files of the peer's own machine: what is served of a folder, how it is kept, and what nobody gets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cluster_tests::need;
use cluster_tests::node::TestNode;
use cluster_tests::pattern::Pattern;
use cluster_tests::peer::Peer;
use cluster_tests::raw::Raw;
use cluster_tests::settings::Settings;

/// A peer that serves this folder below `/static/`, and as an application below `/app/`.
fn serving(node: &TestNode, site: &Path) -> Peer {
    let routes = format!(
        "[[files]]\nname = \"site\"\nroot = {site:?}\n\
         [[route]]\nname = \"static\"\nwhen = {{ path = \"/static/*\" }}\n[route.then]\nrewrite = {{ prefix = \"/static/\", to = \"/\" }}\n\
         files = {{ folder = \"site\", cache = \"365d\", immutable = true }}\n\
         [[route]]\nname = \"app\"\nwhen = {{ path = \"/app/*\" }}\n[route.then]\nrewrite = {{ prefix = \"/app/\", to = \"/\" }}\n\
         files = {{ folder = \"site\", cache = \"1h\", fallback = \"/index.html\" }}\n\
         [[route]]\nname = \"elsewhere\"\nwhen = {{ path = \"/elsewhere/*\" }}\nthen = {{ files = {{ folder = \"other\" }} }}\n"
    );
    let settings = Settings::one("web", "http", [node.address()]);
    Peer::start_file(&format!("{}{routes}", settings.evenkeel_toml()), &[])
}

fn site(folder: &Path) -> std::path::PathBuf {
    let site = folder.join("site");
    fs::create_dir_all(site.join("sub")).expect("the site is made");
    fs::create_dir_all(site.join(".git")).expect("the site is made");
    fs::write(site.join("index.html"), "<p>index").expect("the site is made");
    fs::write(site.join("sub/index.html"), "<p>sub").expect("the site is made");
    fs::write(site.join("app.js"), "let a = 1;\n").expect("the site is made");
    fs::write(site.join("empty.txt"), "").expect("the site is made");
    fs::write(site.join("large.bin"), Pattern::shared().body(3_000_000)).expect("the site is made");
    fs::write(site.join(".env"), "secret").expect("the site is made");
    fs::write(site.join(".git/config"), "secret").expect("the site is made");
    fs::write(site.join("with space.txt"), "space").expect("the site is made");
    fs::write(folder.join("outside.txt"), "secret").expect("the site is made");
    symlink(folder.join("outside.txt"), site.join("link.txt")).expect("the site is made");
    symlink("app.js", site.join("inner.js")).expect("the site is made");
    site
}

#[test]
fn a_file_comes_whole_or_in_parts_and_only_once_while_it_is_the_same() {
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let peer = serving(&node, &site(folder.path()));
    let mut client = Raw::connect(peer.listener("web"));
    let script = client.get("/static/app.js");
    assert_eq!((script.status, script.text().as_str()), (200, "let a = 1;\n"));
    assert_eq!(script.field("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.field("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(script.field("content-length"), Some("11"));
    let (tag, modified) = (script.field("etag").unwrap().to_owned(), script.field("last-modified").unwrap().to_owned());
    let ask = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    for condition in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {modified}\r\n")] {
        let same = client.ask(ask("/static/app.js", &condition)).unwrap();
        assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some(tag.as_str())), "{condition}");
        assert_eq!(same.field("cache-control"), Some("public, max-age=31536000, immutable"));
    }
    assert_eq!(client.ask(ask("/static/app.js", "If-None-Match: \"other\"\r\n")).unwrap().status, 200);
    assert_eq!(client.ask(ask("/static/app.js", "If-Match: \"other\"\r\n")).unwrap().status, 412);

    let large = client.get("/static/large.bin");
    assert_eq!((large.body.len(), Pattern::shared().difference(0, &large.body)), (3_000_000, None));
    let part = client.ask(ask("/static/large.bin", "Range: bytes=1000000-1999999\r\n")).unwrap();
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 1000000-1999999/3000000")));
    assert_eq!((part.body.len(), Pattern::shared().difference(1_000_000, &part.body)), (1_000_000, None));
    let end = client.ask(ask("/static/large.bin", "Range: bytes=-5\r\n")).unwrap();
    assert_eq!((end.status, end.body.len()), (206, 5));
    for (file, range, bytes) in [("large.bin", "-9000000", 3_000_000), ("empty.txt", "0-", 0), ("empty.txt", "-5", 0)] {
        let all = client.ask(ask(&format!("/static/{file}"), &format!("Range: bytes={range}\r\n"))).unwrap();
        let seen = (all.status, all.body.len(), all.field("content-range"));
        assert_eq!(seen, (200, bytes, None), "{file} {range}: more than there is is all that there is");
    }
    assert_eq!(client.ask(ask("/static/large.bin", "Range: bytes=-0\r\n")).unwrap().status, 416);
    let beyond = client.ask(ask("/static/large.bin", "Range: bytes=5000000-\r\n")).unwrap();
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */3000000")));
    let tag = large.field("etag").unwrap();
    let (same, other) =
        (format!("If-Range: {tag}\r\nRange: bytes=0-9\r\n"), "If-Range: \"other\"\r\nRange: bytes=0-9\r\n");
    assert_eq!(client.ask(ask("/static/large.bin", &same)).unwrap().status, 206);
    assert_eq!(client.ask(ask("/static/large.bin", other)).unwrap().body.len(), 3_000_000, "it is another file by now");

    let head = client.ask(ask("/static/large.bin", "").replace("GET", "HEAD")).unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("3000000"), 0));
    let post = client.ask("POST /static/app.js HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(client.get("/static/with%20space.txt").text(), "space", "all of it over one connection");
    assert_eq!(client.get("/").text(), "a\n", "other paths are the nodes'");
}

#[test]
fn nobody_gets_what_is_hidden_or_outside_of_the_folder() {
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let site = site(folder.path());
    std::process::Command::new("mkfifo").arg(site.join("pipe")).status().unwrap();
    let peer = serving(&node, &site);
    for path in [
        "/static/.env",
        "/static/%2eenv",
        "/static/.git/config",
        "/static/sub/../.env",
        "/static/../outside.txt",
        "/static/%2e%2e/outside.txt",
        "/static/..%2foutside.txt",
        "/static/sub%2f..%2f..%2foutside.txt",
        "/static//etc/passwd",
        "/static/%00",
        "/static/link.txt",
        "/static/pipe",
        "/static/none",
        "/static/app.js/",
        "/elsewhere/app.js",
    ] {
        let answer = Raw::connect(peer.listener("web")).get(path);
        // A path that climbs out of `/static/` is none of that route's: the node has it.
        let is_the_nodes = path.contains("outside") && answer.text() == "a\n";
        assert!(is_the_nodes || matches!(answer.status, 400 | 404), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("secret") && !answer.text().contains("root:"), "{path}: {}", answer.text());
    }
    assert_eq!(
        Raw::connect(peer.listener("web")).get("/static/inner.js").text(),
        "let a = 1;\n",
        "a link within leads there"
    );
    assert!(peer.log().contains("folder=other"), "a folder that the file does not name is told: {}", peer.log());
}

#[test]
fn a_folder_has_an_index_and_an_application_one_page_for_all() {
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let peer = serving(&node, &site(folder.path()));
    let mut client = Raw::connect(peer.listener("web"));
    assert_eq!(client.get("/static/").text(), "<p>index");
    assert_eq!(client.get("/static/sub/").text(), "<p>sub");
    let to = client.get("/static/sub?a=b");
    assert_eq!((to.status, to.field("location")), (307, Some("/static/sub/?a=b")));
    let page = client.get("/app/orders/17");
    assert_eq!((page.status, page.text().as_str(), page.field("cache-control")), (200, "<p>index", Some("no-cache")));
    assert_eq!(client.get("/app/app.js").field("cache-control"), Some("public, max-age=3600"));
}

#[test]
fn a_file_that_was_compressed_before_is_sent_so() {
    let Some(curl) = need::program("curl") else { return };
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let site = site(folder.path());
    let packed = std::process::Command::new("gzip").args(["-k", "-9"]).arg(site.join("app.js")).status().unwrap();
    assert!(packed.success());
    let peer = serving(&node, &site);
    let url = format!("http://{}/static/app.js", peer.listener("web"));
    let run = std::process::Command::new(curl).args(["-s", "--compressed", "-i", &url]).output().unwrap();
    let told = String::from_utf8_lossy(&run.stdout).to_ascii_lowercase();
    assert!(told.contains("content-encoding: gzip") && told.contains("vary: accept-encoding"), "{told}");
    assert!(told.ends_with("let a = 1;\n"), "{told}");
    assert_eq!(Raw::connect(peer.listener("web")).get("/static/app.js").field("content-encoding"), None);
}

#[test]
fn no_more_of_a_file_is_read_than_its_reader_takes() {
    let (node, folder) = (TestNode::start("a"), tempfile::tempdir().unwrap());
    let site = site(folder.path());
    let large = fs::File::create(site.join("huge.bin")).unwrap();
    large.set_len(2 << 30).unwrap();
    let peer = serving(&node, &site);
    let memory = || cluster_tests::procfs::resident_bytes(peer.pid());
    let before = memory();
    let readers: Vec<Raw> = (0..16)
        .map(|_| {
            let mut reader = Raw::connect(peer.listener("web"));
            reader.send("GET /static/huge.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert_eq!(reader.head().unwrap().field("content-length"), Some("2147483648"));
            reader
        })
        .collect();
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for {} readers that read nothing", readers.len());
}
