//! How many instructions a check executes: from the bytes of its request to the bytes of its answer, without the network.
//!
//! | name | what it counts |
//! |---|---|
//! | `cached_allow` | a token from the verdict cache, two identity headers, one API with 50 routes |
//! | `cached_deny` | the same token, short of a scope: a denial with its challenge and body |
//! | `cold_…` | a token that was never seen, of each algorithm: parsed, verified and remembered |
//! | `routes_…` | a cached token, at the last of so many routes |
//! | `apis_…` | a cached token, at the last of so many APIs |
//! | `servers_…`, `cold_servers_…` | at an API that trusts so many authorization servers: the token is of the last one |
//!
//! `benches/instructions.sh` runs it and compares with `benches/instructions.json`; it says what to do when a count grew.
//!
//! A count depends on the code and on what compiled it, and hardly on anything else. The clock stands still, keys and
//! tokens are constants (`benches/instructions/tokens.json`; `cargo bench --bench instructions -- --make-tokens` prints new
//! ones: no private key is kept), and the fields of the request have one order. What moves counts nevertheless:
//!
//! - the compiler, libc and the crates, above all aws-lc for the cold ones: take over what a deliberate update changes;
//! - hashes with a random seed, by a few instructions;
//! - the processor, but for those without AVX2 only. aws-lc and libc ask CPUID which code to take, and Valgrind answers as
//!   a fixed model with AVX2, BMI2, AES-NI and PCLMUL, and without ADX, SHA or AVX-512, on every processor that has at
//!   least that. So all of today's servers give the same counts, and cold ones are an upper bound: with ADX the same
//!   signature takes fewer.

#![allow(clippy::expect_used, missing_docs, reason = "a program for developers")]

#[path = "instructions/world.rs"]
mod world;

/// What production allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::args().any(|argument| argument == "--make-tokens") {
        println!("{:#}", world::make_tokens());
    } else {
        counts::run();
    }
}

/// What Gungraun makes of the list below has a `main` of its own.
mod counts {
    use gungraun::Callgrind;
    use gungraun::prelude::*;

    use crate::world::{Ask, Prepared, Shape, prepare};

    const USUAL: Shape = Shape {
        apis: 1,
        routes: 50,
        servers: 1,
    };
    const SMALL: Shape = Shape { routes: 1, ..USUAL };

    const fn with_routes(routes: usize) -> Ask {
        Ask::cached(Shape { routes, ..USUAL }).at_the_last_route()
    }

    const fn with_apis(apis: usize) -> Ask {
        Ask::cached(Shape { apis, ..SMALL })
    }

    const fn with_servers(servers: usize) -> Shape {
        Shape { servers, ..USUAL }
    }

    #[library_benchmark(setup = prepare)]
    #[bench::cached_allow(Ask::cached(USUAL))]
    #[bench::cached_deny(Ask::cached(USUAL).denied())]
    #[bench::cold_rs256(Ask::cold(USUAL, "RS256"))]
    #[bench::cold_ps256(Ask::cold(USUAL, "PS256"))]
    #[bench::cold_es256(Ask::cold(USUAL, "ES256"))]
    #[bench::cold_es384(Ask::cold(USUAL, "ES384"))]
    #[bench::cold_eddsa(Ask::cold(USUAL, "EdDSA"))]
    #[bench::routes_50(with_routes(50))]
    #[bench::routes_10000(with_routes(10_000))]
    #[bench::apis_1(with_apis(1))]
    #[bench::apis_1000(with_apis(1000))]
    #[bench::servers_1(Ask::cached(with_servers(1)))]
    #[bench::servers_1000(Ask::cached(with_servers(1000)))]
    #[bench::cold_servers_1(Ask::cold(with_servers(1), "ES256"))]
    #[bench::cold_servers_1000(Ask::cold(with_servers(1000), "ES256"))]
    fn check(mut prepared: Prepared) -> Prepared {
        prepared.check();
        prepared
    }

    library_benchmark_group!(name = checks, benchmarks = check);

    main!(
        // Instructions alone: simulated caches would only take time.
        config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"]));
        library_benchmark_groups = checks
    );

    pub(crate) fn run() {
        main();
    }
}
