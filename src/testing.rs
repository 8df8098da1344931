//! Gate and issuer in one test: the claims that neither can make alone.
//!
//! [`House`] builds both from one configuration text, around one table of revocations, a store that a test
//! chooses and a clock that it moves by hand: what `serve` puts together, without a socket. [`json`] has values for properties.

mod agreement;
mod concurrency;
pub(crate) mod house;
pub(crate) mod json;
mod keys;
mod reach;
mod unassigned;
