//! The servers that the benchmark compares with, as cargo makes any server: its own release profile, the system's
//! allocator. `benches/run.sh` builds this one with the profile `stock`.

#[path = "../speed/servers.rs"]
mod servers;
#[path = "../speed/signed.rs"]
mod signed;

fn main() {
    servers::main();
}
