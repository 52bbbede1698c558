//! The `evenkeel` binary: everything it does is in the library.

use std::process::ExitCode;

/// The system's allocator keeps more memory of finished requests and takes longer for new ones.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Whatever speaks TLS names its provider; this one is for a dependency that does not. It fails only when set twice.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    evenkeel::cli::main(std::env::args_os())
}
