//! The system below a simulation, fixed: a small library is compiled and preloaded into a process of its own, in which every
//! source of chance follows a seed and clocks stand still (`system.c`).
//!
//! Without it the same seed would not give the same trace: hash maps, `select!` and chitchat ask the system for chance, and
//! tokio's virtual clocks begin where the real one stands.

use std::io;
use std::process::{Command, ExitStatus};

use crate::environment::variable;

const SOURCE: &str = include_str!("system.c");
/// Says that this process has the library, and its seed.
const SYSTEM: &str = "EVENKEEL_SIMULATION_SYSTEM";
/// Where set, the wall clock jumps with every reading.
pub const WALL_JUMPS: &str = "EVENKEEL_SIMULATION_WALL_JUMPS";

/// Whether chance and clocks of this process are fixed.
pub fn is_fixed() -> bool {
    variable(SYSTEM).is_some()
}

/// Runs this program once more, with the same arguments, on a system that follows `seed`, and returns how it ended.
pub fn run_again_fixed(seed: u64) -> io::Result<ExitStatus> {
    let folder = tempfile::tempdir()?;
    let (source, library) = (folder.path().join("system.c"), folder.path().join("system.so"));
    std::fs::write(&source, SOURCE)?;
    let compiled = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    match compiled {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(io::Error::other(format!("cc failed: {status}"))),
        Err(error) => return Err(io::Error::other(format!("a simulation needs a C compiler, and cc: {error}"))),
    }
    let arguments = std::env::args_os().skip(1);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).env("LD_PRELOAD", &library).env(SYSTEM, seed.to_string()).status()
}
