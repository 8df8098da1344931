//! New secrets of clients: what is handed over once, and what is kept of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy;
use crate::issuer::Issuer;
use crate::issuer::directory::{new_id, secret_context};
use crate::model::digest::Digest;
use crate::model::secret::Secret;
use crate::oauth::document::{IdPrefix, SecretDocument, Status};

impl Issuer {
    /// A secret for this client: `chosen`, or a new one of 384 bits. Only its digest is kept; with `is_readable`
    /// (`client_secret_jwt` needs the text itself) also the text, sealed.
    #[must_use]
    pub fn new_client_secret(
        &self,
        client: &str,
        chosen: Option<Secret<String>>,
        is_readable: bool,
    ) -> (SecretDocument, Secret<String>) {
        let text = chosen.unwrap_or_else(|| Secret::new(entropy::random_text::<48>()));
        let id = new_id(IdPrefix::Secret);
        let sealed = is_readable.then(|| {
            let plain = Secret::new(text.expose_secret().as_bytes().to_vec());
            let sealed = self.services.store.sealing.seal(&secret_context(client, &id), &plain);
            URL_SAFE_NO_PAD.encode(sealed)
        });
        let now = self.services.clock.now();
        let document = SecretDocument {
            sha256: Digest::of(text.expose_secret().as_bytes()).to_base64url(),
            id,
            sealed,
            status: Status::Active,
            created_at: now,
            updated_at: now,
        };
        (document, text)
    }
}
