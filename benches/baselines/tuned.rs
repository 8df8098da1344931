//! The same as `stock.rs` on the allocator that Scopegate has.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program for developers"
)]

#[path = "../speed/servers.rs"]
mod servers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    servers::main();
}
