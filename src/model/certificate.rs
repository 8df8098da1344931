//! The certificate that a peer showed when it connected.

use std::sync::Arc;

/// The certificate of a connection's peer, whose private key the handshake has proven (RFC 8705 section 2).
///
/// Nothing else is known of it: whether it is the right one, and whether it has expired meanwhile, is to be
/// judged at each request, since a connection may stand for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, as DER.
    pub der: Arc<[u8]>,
    /// Whether an authority that the listener is configured with vouches for it.
    pub is_vouched_for: bool,
}
