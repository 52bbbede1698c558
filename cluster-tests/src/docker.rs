//! A real docker engine for one test: images made of our own `test-node`, and all that a test leaves there goes with it.
//!
//! Nothing is fetched. An image is `test-node` with the libraries that it needs and nothing else: no shell, no other program.
//! Images carry a label of the test process, containers have it from their image, and by it both are removed. What a test
//! process that was killed left there, the next one removes.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::Value;

use crate::{binary, need};

/// Where an engine listens on most machines.
const SOCKET: &str = "/var/run/docker.sock";
/// Where the node of an image listens, unless its command says otherwise.
pub const PORT: u16 = 8_000;
/// The label of all that tests make; its value is the id of the test process.
const TEST_LABEL: &str = "evenkeel-test";
/// What the health check of [`Engine::image_with_health`] looks at: a program, or not.
const WELL: &str = "/well";

/// A docker engine that works, with the images of this process.
#[derive(Debug)]
pub struct Engine {
    images: Arc<Images>,
}

/// The images of this process; the last test that needs them takes them away.
#[derive(Debug)]
struct Images {
    docker: PathBuf,
    plain: String,
    with_health: String,
}

/// A container, as the engine lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `created`, `running`, `exited` and the like.
    pub state: String,
    /// The text of its label `evenkeel.intent`; empty: it has none.
    pub intent: String,
}

impl Engine {
    /// The one of this machine; without it a line says so, and the test is to return. With `CI=true` that is a failure.
    #[track_caller]
    pub fn here() -> Option<Self> {
        let docker = need::program("docker")?;
        let (tar, ldd) = (need::program("tar")?, need::program("ldd")?);
        if UnixStream::connect(SOCKET).is_err() || !run(&docker, ["version"]).status.success() {
            need::missing(&format!("no docker engine answers at {SOCKET}"));
            return None;
        }
        static IMAGES: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut known: MutexGuard<'_, Weak<Images>> = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let images = known.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Images::make(docker, &tar, &ldd));
            *known = Arc::downgrade(&made);
            made
        });
        Some(Self { images })
    }

    /// The path of its socket.
    pub fn socket(&self) -> &'static Path {
        Path::new(SOCKET)
    }

    /// An image of a node that listens at [`PORT`]; words of a command are arguments of `test-node`.
    pub fn image(&self) -> &str {
        &self.images.plain
    }

    /// The same with a health check, twice a second, which takes three misses. It is well until [`Self::make_unwell`].
    pub fn image_with_health(&self) -> &str {
        &self.images.with_health
    }

    /// The containers of a node, the newest first.
    pub fn containers(&self, node: &str) -> Vec<Container> {
        let label = format!("label=evenkeel.node={node}");
        let format = r#"{{.ID}} {{.Names}} {{.State}} {{.Label "evenkeel.intent"}}"#;
        let told = self.run(["ps", "--all", "--no-trunc", "--filter", &label, "--format", format]);
        let containers = told.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            Container { id: word(), name: word(), state: word(), intent: word() }
        });
        containers.collect()
    }

    /// The names and states of a node's containers, by name: `us-1.i1 exited, us-1.i2 running`.
    pub fn states(&self, node: &str) -> String {
        let mut containers = self.containers(node);
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        let states: Vec<String> = containers.iter().map(|found| format!("{} {}", found.name, found.state)).collect();
        states.join(", ")
    }

    /// How many containers of a node have this text in their label `evenkeel.intent`.
    pub fn count_made_by(&self, node: &str, intent: &str) -> usize {
        self.containers(node).iter().filter(|found| found.intent == intent).count()
    }

    /// A container that an operator made for this node before there was any driver, and that runs.
    pub fn run_first(&self, node: &str, image: &str, more: &[&str]) -> String {
        let label = format!("evenkeel.node={node}");
        let name = format!("{node}-first");
        let mut words = vec!["run", "--detach", "--name", &name, "--label", &label];
        words.extend_from_slice(more);
        words.push(image);
        self.run(words).trim().to_owned()
    }

    /// Ends a container at once, as the death of its server would.
    pub fn kill(&self, container: &str) {
        self.run(["kill", container]);
    }

    /// All that the engine knows of a container.
    pub fn inspect(&self, container: &str) -> Value {
        let told = self.run(["inspect", "--type", "container", container]);
        let mut all: Vec<Value> = serde_json::from_str(&told).expect("an engine tells JSON");
        all.swap_remove(0)
    }

    /// A network of this test process, by the engine's own name and address for it.
    pub fn make_network(&self, name: &str) {
        let label = format!("{TEST_LABEL}={}", std::process::id());
        self.run(["network", "create", "--label", &label, name]);
    }

    /// What its health check says: `starting`, `healthy`, `unhealthy`.
    pub fn health(&self, container: &str) -> String {
        self.inspect(container)["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned()
    }

    /// From now on the health check of this container fails.
    pub fn make_unwell(&self, container: &str) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("well");
        std::fs::write(&file, "no program").expect("a temporary folder takes a file");
        self.run([OsStr::new("cp"), file.as_os_str(), OsStr::new(&format!("{container}:{WELL}"))]);
    }

    /// What the docker program says to these words; the test fails where it does.
    #[track_caller]
    pub fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> String {
        told(&run(&self.images.docker, words))
    }
}

impl Images {
    #[track_caller]
    fn make(docker: PathBuf, tar: &Path, ldd: &Path) -> Self {
        let own = std::process::id();
        remove_of_the_dead(&docker);
        let images = Self {
            docker,
            plain: format!("evenkeel-test-node:{own}"),
            with_health: format!("evenkeel-test-node:{own}-health"),
        };
        let root = tempfile::tempdir().expect("a temporary folder");
        let loader = fill(root.path(), ldd);
        let mut packed = Command::new(tar)
            .args(["--create", "--directory"])
            .arg(root.path())
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        let label = format!("LABEL {TEST_LABEL}={own}");
        let listen = format!(r#"CMD ["--listen", "0.0.0.0:{PORT}"]"#);
        let changes = [r#"ENTRYPOINT ["/test-node"]"#, &listen, &label].map(|change| ["--change", change]);
        let mut import = command(&images.docker, ["import"]);
        import.args(changes.as_flattened()).args(["-", &images.plain]);
        let imported = import.stdin(packed.stdout.take().expect("it is a pipe")).output().expect("docker runs");
        told(&imported);
        assert!(packed.wait().expect("tar ends").success(), "tar packs the files of an image");

        // Nothing but a health check stands between the two, so the second is made of the first.
        let health = format!(
            r#"HEALTHCHECK --interval=500ms --timeout=30s --retries=3 CMD ["{}", "--verify", "{WELL}"]"#,
            loader.display()
        );
        let container = told(&run(&images.docker, ["create", &images.plain]));
        told(&run(&images.docker, ["commit", "--change", &health, container.trim(), &images.with_health]));
        told(&run(&images.docker, ["rm", container.trim()]));
        images
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        remove_of(&self.docker, &std::process::id().to_string());
    }
}

/// Lays out the files of an image, and says where its loader is.
fn fill(root: &Path, ldd: &Path) -> PathBuf {
    let node = binary::test_node();
    let copy = root.join("test-node");
    std::fs::copy(&node, &copy).expect("a program can be copied");
    // Nine tenths of it are for debuggers. Where nothing takes them away the image is larger, and that is all.
    if let Some(strip) = need::find("strip") {
        let _ = Command::new(strip).arg("--strip-debug").arg(&copy).status();
    }
    // The loader verifies programs, and nothing else.
    std::fs::copy(&copy, root.join(WELL.trim_start_matches('/'))).expect("a program can be copied");
    let told = told(&Command::new(ldd).arg(&node).output().expect("ldd runs"));
    // `libc.so.6 => /lib/libc.so.6 (0x7f)`, and the loader by its path alone: `/lib64/ld-linux.so.2 (0x7f)`.
    let needed = told.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let mut loader = None;
    for library in needed {
        let at = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(at.parent().expect("a library is in a folder"))
            .expect("a temporary folder takes a folder");
        std::fs::copy(library, &at).expect("a library can be copied");
        if Path::new(library).file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-")) {
            loader = Some(PathBuf::from(library));
        }
    }
    loader.expect("a program that needs libraries has a loader")
}

/// Removes what test processes left here that are gone.
fn remove_of_the_dead(docker: &Path) {
    let filter = format!("label={TEST_LABEL}");
    let format = format!(r#"{{{{index .Config.Labels "{TEST_LABEL}"}}}}"#);
    let ids = told(&run(docker, ["images", "--quiet", "--filter", &filter]));
    for id in ids.lines() {
        let owner = run(docker, ["inspect", "--type", "image", "--format", &format, id]);
        let owner = String::from_utf8_lossy(&owner.stdout).trim().to_owned();
        // One that is gone meanwhile has no owner.
        if !owner.is_empty() && !Path::new("/proc").join(&owner).exists() {
            remove_of(docker, &owner);
        }
    }
}

/// Removes what the test process of this id made. Another may do the same, so nothing that fails here is a fault.
fn remove_of(docker: &Path, owner: &str) {
    let filter = format!("label={TEST_LABEL}={owner}");
    let images: (&[&str], &[&str]) = (&["images"], &["rmi", "--force"]);
    // Images twice: one of which another was made stays as long as that.
    let kinds: [(&[&str], &[&str]); 4] =
        [(&["ps", "--all"], &["rm", "--force", "--volumes"]), (&["network", "ls"], &["network", "rm"]), images, images];
    for (list, remove) in kinds {
        let told = run(docker, list.iter().copied().chain(["--quiet", "--no-trunc", "--filter", &filter]));
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        if !told.trim().is_empty() {
            run(docker, remove.iter().copied().chain(told.lines()));
        }
    }
}

fn command<W: AsRef<OsStr>>(docker: &Path, words: impl IntoIterator<Item = W>) -> Command {
    let mut command = Command::new(docker);
    // Whatever the shell of a developer says about engines, this is the one that the driver is told.
    command.env_clear().args(["--host", &format!("unix://{SOCKET}")]).args(words);
    command
}

fn run<W: AsRef<OsStr>>(docker: &Path, words: impl IntoIterator<Item = W>) -> Output {
    command(docker, words).stdin(Stdio::null()).output().expect("docker runs")
}

#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
