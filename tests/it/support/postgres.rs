//! The PostgreSQL of the tests: the same cluster that the store's own tests make.

#[path = "../../../src/store/tests/postgres.rs"]
mod cluster;

pub(crate) use cluster::{Cluster, Database, PASSWORD, database};
