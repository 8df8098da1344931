//! The nouns of the house: identifiers, secrets, scopes, time, reasons, events.
//!
//! Plain values only. Nothing here does I/O, reads a clock or knows a wire format; every other
//! room may import this one, and this one imports none of ours.
//!
//! **Invariant:** a value of a type of this module is valid. Parsing happens once, at the edge, in
//! the type's own `parse`; inside, an invalid value has no spelling.

pub mod certificate;
pub mod digest;
pub mod event;
pub mod finding;
pub mod id;
pub mod location;
pub mod nesting;
pub mod reason;
pub mod scope;
pub mod secret;
pub mod time;
