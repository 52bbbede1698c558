use std::fs;
use std::process::Command as StdCommand;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::driver::fence::samples::{effect, node, server, term};
use crate::driver::{Answer, Executor, Order};
use crate::host::Dice;

/// A script, and the folder in which it and its driver leave what they have to.
struct Story {
    folder: TempDir,
}

impl Story {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script"), script).unwrap();
        Self { folder }
    }

    fn settings(&self) -> ExecSettings {
        settings(self.folder.path())
    }

    fn exec(&self) -> Exec {
        Exec::new(self.settings())
    }

    fn exec_within(&self, timeout: Duration) -> Exec {
        Exec::new(ExecSettings { timeout, ..self.settings() })
    }

    async fn act(&self, action: Action) -> Result<Done, Failed> {
        self.exec().act(&effect((2, 7), action)).await
    }

    fn act_aside(&self, effect: &Effect) -> JoinHandle<Result<Done, Failed>> {
        let (exec, effect) = (self.exec(), effect.clone());
        tokio::spawn(async move { exec.act(&effect).await })
    }

    /// What the script wrote into that file; empty before it has.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn write(&self, name: &str) {
        fs::write(self.folder.path().join(name), "").unwrap();
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The processes whose ids the script wrote down.
    fn processes(&self) -> Vec<Pid> {
        let ids = self.read("processes");
        ids.lines().map(|id| Pid::from_raw(id.parse().unwrap()).unwrap()).collect()
    }
}

/// Whatever a script began and left is not left to the machine.
impl Drop for Story {
    fn drop(&mut self) {
        for process in self.processes().into_iter().filter(|process| is_running(*process)) {
            let _ = rustix::process::kill_process(process, Signal::KILL);
        }
    }
}

fn settings(folder: &Path) -> ExecSettings {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    ExecSettings {
        // Not the script itself: a file that another thread has just written cannot be run while it forks.
        command: vec!["/bin/sh".to_owned(), text(&folder.join("script"))],
        environment: BTreeMap::from([("FOLDER".to_owned(), text(folder))]),
        timeout: Duration::from_secs(60),
        probes: false,
        folder: folder.join("driver"),
    }
}

/// Whether it is there, and not only because nobody has asked how it ended.
fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Waits for a file `go` in the middle of what it does, and writes down both ends of that.
const PATIENT: &str = r#"
    cat >> "$FOLDER/inputs"; echo >> "$FOLDER/inputs"
    echo $$ >> "$FOLDER/processes"
    echo began >> "$FOLDER/log"
    until test -e "$FOLDER/go"; do sleep 0.02; done
    echo ended >> "$FOLDER/log"
"#;

#[tokio::test]
async fn a_command_is_told_the_effect_as_json() {
    let story = Story::new(r#"cat > "$FOLDER/input""#);
    let told = Effect { again: true, ..effect((2, 7), Action::Switch) };
    assert_eq!(story.exec().act(&told).await, Ok(Done::default()));
    let input: serde_json::Value = serde_json::from_str(&story.read("input")).unwrap();
    let expected = serde_json::json!({
        "action": "switch",
        "intent": "i7",
        "term": 2,
        "node": {"id": "web-1", "pool": "web", "region": "eu-west", "address": "10.0.1.10:8000"},
        "from": {"id": "host-1", "address": "10.0.0.1", "labels": {"rack": "7"}},
        "to": {"id": "host-2", "address": "10.0.0.2:51820", "labels": {"rack": "7"}},
        "again": true,
    });
    assert_eq!(input, expected);
    // What is shorter than the one before has nothing of it at its end.
    let short = Effect { from: None, to: None, ..told };
    assert_eq!(story.exec().act(&short).await, Ok(Done::default()));
    assert_eq!(serde_json::from_str::<Effect>(&story.read("input")).unwrap(), short);
}

#[tokio::test]
async fn a_command_has_nothing_of_the_peer_but_what_its_settings_name() {
    let story = Story::new(
        r#"
        tr '\0' '\n' < /proc/$$/environ > "$FOLDER/environment"
        pwd > "$FOLDER/where"
        cat /proc/$$/stat > "$FOLDER/stat"
        ls -l /proc/$$/fd > "$FOLDER/open"
        "#,
    );
    story.act(Action::Switch).await.unwrap();
    let environment = story.read("environment");
    let mut names: Vec<_> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    names.sort_unstable();
    assert_eq!(names, [("FOLDER", story.folder.path().to_str().unwrap()), ("PATH", PATH)]);
    assert_eq!(story.read("where"), "/\n");
    let stat = story.read("stat");
    let (id, rest) = stat.split_once(" (").unwrap();
    let group = rest.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap();
    assert_eq!(id, group, "a process group of its own");
}

#[tokio::test]
async fn the_path_of_the_settings_takes_the_place_of_the_usual_one() {
    let story = Story::new(r#"echo "$PATH" > "$FOLDER/path""#);
    let mut settings = story.settings();
    settings.environment.insert("PATH".to_owned(), "/nowhere".to_owned());
    Exec::new(settings).act(&effect((2, 7), Action::Switch)).await.unwrap();
    assert_eq!(story.read("path"), "/nowhere\n");
}

#[tokio::test]
async fn what_a_command_prints_and_how_it_ends_says_what_was_done() {
    let story = Story::new(r#"printf %s "$SAY"; printf %b "$COMPLAIN" >&2; exit "$STATUS""#);
    let run = async |say: &str, complain: &str, status: &str| {
        let mut settings = story.settings();
        for (name, value) in [("SAY", say), ("COMPLAIN", complain), ("STATUS", status)] {
            settings.environment.insert(name.to_owned(), value.to_owned());
        }
        Exec::new(settings).act(&effect((2, 7), Action::Start)).await
    };
    for (say, address, note) in [
        ("", None, ""),
        (" \n", None, ""),
        ("{}", None, ""),
        (r#"{"note": "two\nlines\u001b[2J"} "#, None, "two lines?[2J"),
        (r#"{"address": "10.0.1.11:8000", "note": null}"#, Some("10.0.1.11:8000"), ""),
        (r#"{"address": "https://Web.Example", "note": "on"}"#, Some("https://web.example:443"), "on"),
    ] {
        let expected = Done { address: address.map(str::to_owned), note: note.to_owned() };
        // What it complains of does not count where it ends well.
        assert_eq!(run(say, "warning", "0").await, Ok(expected), "{say}");
    }
    for (say, complain, status, expected) in [
        ("", "first\\nlast\\033[31m line\\n\\n", "3", "exit status: 3: last?[31m line"),
        ("", "", "1", "exit status: 1"),
        (r#"{"error": "no such host"}"#, "trace", "1", "exit status: 1: no such host"),
        ("half a thing", "disk full", "1", "exit status: 1: disk full"),
        (r#"{"error": "no such host"}"#, "", "0", "no such host"),
        (r#"{"error": ""}"#, "", "0", "it says that it failed"),
        (r#"{"adress": "10.0.1.11:8000"}"#, "", "0", "unknown field `adress`"),
        (r#"{"address": "10.0.1.11"}"#, "", "0", "the address that it printed is none: a port is missing"),
        ("done", "", "0", "not the JSON that was expected"),
        ("[]", "", "0", "not the JSON that was expected"),
        ("{} {}", "", "0", "not the JSON that was expected"),
    ] {
        let why = run(say, complain, status).await.unwrap_err().why;
        assert!(why.starts_with("/bin/sh, asked to start node web-1: ") && why.contains(expected), "{say}: {why}");
    }
}

#[tokio::test]
async fn a_command_that_a_signal_ended_has_failed() {
    let story = Story::new("kill -KILL $$");
    let why = story.act(Action::Switch).await.unwrap_err().why;
    assert!(why.contains("signal: 9"), "{why}");
}

#[tokio::test]
async fn a_note_is_cut_to_what_can_be_shown() {
    let story = Story::new(r#"printf '{"note": "%05000d"}' 0"#);
    assert_eq!(story.act(Action::Switch).await.unwrap().note.chars().count(), super::super::fence::WORDS_CHARS_MAX);
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_said_to_be_so() {
    let story = Story::new("");
    let folder = story.folder.path().to_str().unwrap().to_owned();
    for (command, expected) in [
        (vec![], "no command is set"),
        (vec!["sh".to_owned()], "no path from the root"),
        (vec![format!("{folder}/missing")], "No such file"),
        (vec![format!("{folder}/script")], "Permission denied"),
    ] {
        let exec = Exec::new(ExecSettings { command, ..story.settings() });
        let why = exec.act(&effect((2, 7), Action::Switch)).await.unwrap_err().why;
        assert!(why.contains(expected), "{why}");
        let failing = exec.usage().await.unwrap_err().why;
        assert!(failing.contains(expected), "{failing}");
    }
    let exec = Exec::new(ExecSettings { command: vec![folder], ..story.settings() });
    assert!(exec.usage().await.unwrap_err().why.contains("cannot be run"));
    assert_eq!(story.exec().usage().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_in_order_with_all_that_it_began() {
    let story = Story::new(
        r#"
        trap 'echo bye > "$FOLDER/bye"; exit 0' TERM
        sleep 1000 & echo $! >> "$FOLDER/processes"
        sh -c 'echo $$ >> "$FOLDER/processes"; sleep 1000' & wait
        "#,
    );
    let began = host::now();
    let why = story.exec_within(Duration::from_secs(2)).act(&effect((2, 7), Action::Switch)).await.unwrap_err().why;
    assert!(why.contains("did not end within 2 s"), "{why}");
    assert!(host::now() - began < Duration::from_secs(2) + ENDS_WITHIN, "nobody waited for what was gone");
    assert_eq!(story.read("bye"), "bye\n");
    let processes = story.processes();
    assert_eq!(processes.len(), 2);
    assert!(processes.into_iter().all(|process| !is_running(process)));
}

#[tokio::test]
async fn a_command_that_does_not_let_itself_be_ended_is_killed() {
    let story = Story::new(
        r#"
        trap '' TERM
        echo $$ >> "$FOLDER/processes"
        sleep 1000 & echo $! >> "$FOLDER/processes"
        while :; do sleep 1000; done
        "#,
    );
    let began = host::now();
    let why = story.exec_within(Duration::from_secs(1)).act(&effect((2, 7), Action::Switch)).await.unwrap_err().why;
    assert!(why.contains("did not end within 1 s"), "{why}");
    assert!(host::now() - began >= Duration::from_secs(1) + ENDS_WITHIN, "it was given time");
    let processes = story.processes();
    assert_eq!(processes.len(), 2);
    story.until(|_| processes.iter().all(|process| !is_running(*process))).await;
}

#[tokio::test]
async fn a_command_that_prints_without_end_is_ended() {
    for (script, what) in [("echo $$ >> $FOLDER/processes; exec yes", "output"), ("exec yes >&2", "error")] {
        let story = Story::new(script);
        let why = story.act(Action::Switch).await.unwrap_err().why;
        assert!(why.contains(&format!("more than 64 KiB on its standard {what}")), "{why}");
        assert!(story.processes().into_iter().all(|process| !is_running(process)));
    }
}

#[tokio::test]
async fn what_a_command_leaves_running_keeps_neither_its_answer_nor_the_next_command_waiting() {
    // The shell gives what it starts with & another standard input; its standard output stays open.
    let story = Story::new(
        r#"
        sleep 1000 & echo $! >> "$FOLDER/processes"
        echo '{"note": "started"}'
        "#,
    );
    for _ in 0..2 {
        assert_eq!(story.act(Action::Start).await.unwrap().note, "started");
    }
    let processes = story.processes();
    assert!(processes.len() == 2 && processes.into_iter().all(is_running));
}

#[tokio::test]
async fn what_keeps_a_commands_standard_input_keeps_the_next_one_from_beginning() {
    let story = Story::new(
        r#"
        exec 3<&0
        sleep 1000 <&3 & echo $! >> "$FOLDER/processes"
        "#,
    );
    story.act(Action::Start).await.unwrap();
    let told = effect((2, 7), Action::Stop);
    let why = story.exec_within(Duration::from_millis(300)).act(&told).await.unwrap_err().why;
    assert!(why.contains("an earlier command for this node") && why.contains("command-web-1.json"), "{why}");
    let input: Effect = serde_json::from_str(&story.read("driver/command-web-1.json")).unwrap();
    assert_eq!(input.action, Action::Start, "what the earlier one was told is not overwritten");
    assert_eq!(story.processes().len(), 1);
    // Another node is another matter.
    let mut elsewhere = told.clone();
    elsewhere.node.id = node("web-2");
    story.exec().act(&elsewhere).await.unwrap();
    let second = story.act_aside(&told);
    rustix::process::kill_process(story.processes()[0], Signal::KILL).unwrap();
    assert_eq!(second.await.unwrap(), Ok(Done::default()));
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_goes_on_and_no_second_one_runs_beside_it() {
    let story = Story::new(PATIENT);
    let first = story.act_aside(&effect((2, 7), Action::Switch));
    story.until(|story| story.read("log") == "began\n").await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let again = Effect { again: true, ..effect((3, 7), Action::Switch) };
    let why = story.exec_within(Duration::from_millis(300)).act(&again).await.unwrap_err().why;
    assert!(why.contains("an earlier command for this node"), "{why}");
    let second = story.act_aside(&again);
    assert_eq!(story.read("log"), "began\n");
    story.write("go");
    second.await.unwrap().unwrap();
    assert_eq!(story.read("log"), "began\nended\nbegan\nended\n");
    let inputs: Vec<Effect> = story.read("inputs").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(inputs, [effect((2, 7), Action::Switch), again]);
}

fn executor(folder: &Path) -> Executor {
    let driver: Arc<dyn Driver> = Arc::new(Exec::new(settings(folder)));
    Executor::new(BTreeMap::from([("vpn".parse().unwrap(), driver)]), folder.join("fences"), Dice::from_seed(1))
}

fn switch(of_term: u64) -> Order {
    Order::Act { driver: "vpn".parse().unwrap(), effect: Box::new(effect((of_term, 7), Action::Switch)) }
}

/// What is asked for, once the executor has been told the term and its disk is quick enough for an answer.
async fn ask(executor: &Executor, of_term: u64) -> Answer {
    loop {
        match executor.order(switch(of_term)).await {
            Answer::NoFence { challenge } => {
                executor.order(Order::Fence { node: node("web-1"), term: term(of_term), challenge }).await;
            }
            Answer::Unable { .. } => {}
            answer => return answer,
        }
    }
}

const PEER: &str = "the_peer_that_is_killed";

/// Runs in a process of its own, in a folder that has a script.
#[tokio::test]
#[ignore = "no test: the peer that another test kills"]
async fn the_peer_that_is_killed() {
    let folder = std::env::current_dir().unwrap();
    if folder.join("script").exists() {
        let executor = executor(&folder);
        while ask(&executor, 2).await == Answer::Running {}
    }
}

#[tokio::test]
async fn a_peer_that_is_killed_leaves_its_command_running_and_begins_the_next_one_after_it() {
    let story = Story::new(PATIENT);
    let path = module_path!().split_once("::").unwrap().1;
    let mut peer = StdCommand::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("{path}::{PEER}")])
        .current_dir(story.folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    story.until(|story| story.read("log") == "began\n").await;
    peer.kill().unwrap();
    peer.wait().unwrap();
    let first = story.processes()[0];
    assert!(is_running(first));

    // It is there again.
    let executor = executor(story.folder.path());
    for _ in 0..2 {
        // Each takes longer than a command needs to begin.
        assert_eq!(ask(&executor, 3).await, Answer::Running);
    }
    assert!(is_running(first));
    assert_eq!(story.read("log"), "began\n");
    story.write("go");
    let mut answer = Answer::Running;
    while answer == Answer::Running {
        answer = ask(&executor, 3).await;
    }
    assert_eq!(answer, Answer::Done(Done::default()));
    assert_eq!(story.read("log"), "began\nended\nbegan\nended\n");
    let inputs: Vec<Effect> = story.read("inputs").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let again = Effect { again: true, ..effect((3, 7), Action::Switch) };
    assert_eq!(inputs, [effect((2, 7), Action::Switch), again]);
}

#[tokio::test]
async fn a_server_is_probed_by_a_connection_where_the_command_does_not_understand_probes() {
    let story = Story::new(r#"cat >> "$FOLDER/input""#);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let probe = async |address: &str| {
        let to = Some(server("host-2", address));
        story.exec().act(&Effect { to, ..effect((2, 7), Action::Probe) }).await
    };
    assert_eq!(probe(&open.to_string()).await.unwrap().note, format!("{open} takes TCP connections"));
    let by_name = probe(&format!("localhost:{}", open.port())).await.unwrap();
    assert_eq!(by_name.note, format!("localhost:{} takes TCP connections", open.port()));
    let why = probe(&closed.to_string()).await.unwrap_err().why;
    assert!(why.contains(&format!("server host-2 at {closed}: it takes no TCP connection")), "{why}");
    assert_eq!(probe("127.0.0.1").await.unwrap().note, "not looked at: 127.0.0.1 has no port to connect to");
    assert!(probe("http://nonsense").await.unwrap_err().why.contains("scheme"));
    let nowhere = Effect { to: None, ..effect((2, 7), Action::Probe) };
    assert_eq!(story.exec().act(&nowhere).await.unwrap().note, "not looked at: no server was named");
    assert_eq!(story.read("input"), "", "the command was not asked");

    let exec = Exec::new(ExecSettings { probes: true, ..story.settings() });
    exec.act(&effect((2, 7), Action::Probe)).await.unwrap();
    assert_eq!(serde_json::from_str::<Effect>(&story.read("input")).unwrap(), effect((2, 7), Action::Probe));
}

#[test]
fn settings_are_shown_without_what_may_be_secret() {
    let story = Story::new("");
    let mut settings = story.settings();
    settings.environment.insert("TOKEN".to_owned(), "hunter2".to_owned());
    settings.command.push("--password=hunter2".to_owned());
    for shown in [format!("{settings:?}"), format!("{:?}", Exec::new(settings))] {
        assert!(shown.contains("TOKEN") && shown.contains("/bin/sh") && !shown.contains("hunter2"), "{shown}");
    }
}
