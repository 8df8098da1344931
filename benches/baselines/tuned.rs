//! The same as `stock.rs` on the allocator that Scopegate has.

#[path = "../speed/servers.rs"]
mod servers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    servers::main();
}
