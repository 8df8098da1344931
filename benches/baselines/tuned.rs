//! The same as `stock.rs` on the allocator that Scopegate has.

#[path = "../speed/servers.rs"]
mod servers;
#[path = "../speed/signed.rs"]
mod signed;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    servers::main();
}
