//! The `scopegate` program: everything it does is in the library.

use std::process::ExitCode;

/// Many small, short-lived buffers on several threads: what mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    scopegate::cli::run()
}
