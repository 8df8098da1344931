//! The use cases of the administration: what the management API and the command line do, without a wire.
//!
//! Each is a method of a [`desk::Desk`], which knows who asks and whether it is for good. What the file declares is
//! seen and never changed. Every change is in the audit log with what was before and after, in the same transaction.

pub mod apps;
pub mod assignments;
pub mod credentials;
pub mod desk;
pub mod grants;
pub mod groups;
mod password;
pub mod refusal;
pub mod schema;
pub mod users;
