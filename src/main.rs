//! The program: reads the configuration and does what it says.

use std::process::ExitCode;

use webinfer::{browser::guard, cli, config};

/// It tells what it holds, which the system's does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match config::read() {
        // Small and single-threaded: it lives as long as a browser does.
        config::Mode::Guard(guard) => guard::run(&guard),
        mode => cli::run(mode),
    }
}
