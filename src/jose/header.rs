//! The header of a compact JWS (RFC 7515 section 4.1), read strictly, and not again while it stays the same.
//!
//! All tokens of one key have the same header, to the letter. So a thread keeps the last few that it has read: what a text
//! says depends on the text alone, and the text is compared in full.

use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Map, Value};

use crate::jose::alg::Algorithm;
use crate::jose::compact::{Malformed, decode};
use crate::jose::json::{self, Limits};
use crate::model::id::Kid;

/// How many headers a thread keeps. A power of two.
const KEPT: usize = 16;

/// The longest header that is kept, in bytes of its encoded form.
const KEPT_BYTES_MAX: usize = 512;

/// What is read of a header.
#[derive(Debug)]
pub(in crate::jose) struct Header {
    pub(in crate::jose) algorithm: Algorithm,
    pub(in crate::jose) kid: Option<Kid>,
    /// As it is written.
    pub(in crate::jose) typ: Option<String>,
    pub(in crate::jose) jwk: Option<Value>,
}

/// Reads the encoded header.
///
/// # Errors
/// [`Malformed`] names the rule that it breaks.
pub(in crate::jose) fn read(encoded: &str) -> Result<Arc<Header>, Malformed> {
    LATELY.with_borrow_mut(|lately| lately.read(encoded))
}

thread_local! {
    static LATELY: RefCell<Lately> = RefCell::default();
}

/// The headers that were read lately.
#[derive(Default)]
struct Lately {
    /// Anybody's text is hashed: who makes two of them share a place wins nothing but that they are read anew.
    hashes: RandomState,
    kept: [Option<(Box<str>, Arc<Header>)>; KEPT],
}

impl Lately {
    fn read(&mut self, encoded: &str) -> Result<Arc<Header>, Malformed> {
        let place = usize::try_from(self.hashes.hash_one(encoded) % KEPT as u64).unwrap_or_default();
        if let Some((text, header)) = &self.kept[place]
            && **text == *encoded
        {
            return Ok(Arc::clone(header));
        }
        let header = Arc::new(Header::parse(encoded)?);
        // A proof's header is its client's own, and would push out those of keys.
        if header.jwk.is_none() && encoded.len() <= KEPT_BYTES_MAX {
            self.kept[place] = Some((encoded.into(), Arc::clone(&header)));
        }
        Ok(header)
    }
}

impl Header {
    fn parse(encoded: &str) -> Result<Self, Malformed> {
        let mut members = json::map(&decode(encoded)?, Limits::TOKEN).map_err(|_| Malformed::Header)?;
        // SECURITY: each of these changes what the signature or the payload means (attacks A18-A20).
        if ["crit", "b64", "zip"].iter().any(|name| members.contains_key(*name)) {
            return Err(Malformed::Extension);
        }
        let algorithm = members
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::parse)
            .ok_or(Malformed::Algorithm)?;
        let kid = text(&members, "kid")?
            .map(Kid::parse)
            .transpose()
            .map_err(|_| Malformed::HeaderMember)?;
        let typ = text(&members, "typ")?.map(str::to_owned);
        Ok(Self {
            algorithm,
            kid,
            typ,
            jwk: members.remove("jwk"),
        })
    }
}

fn text<'h>(members: &'h Map<String, Value>, name: &str) -> Result<Option<&'h str>, Malformed> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed::HeaderMember),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn encoded(header: &str) -> String {
        URL_SAFE_NO_PAD.encode(header)
    }

    #[test]
    fn a_header_that_was_read_lately_says_what_it_says() {
        let mut lately = Lately::default();
        // More than are kept, twice over.
        let texts: Vec<_> = (0..4 * KEPT)
            .map(|number| encoded(&format!(r#"{{"alg":"ES256","kid":"k{number}"}}"#)))
            .collect();
        for (number, text) in texts.iter().enumerate().chain(texts.iter().enumerate()) {
            for _ in 0..2 {
                let header = lately.read(text).expect("a header");
                assert_eq!(
                    header.kid.as_ref().map(Kid::as_str),
                    Some(format!("k{number}").as_str())
                );
            }
        }
        let one = lately.read(&texts[0]).expect("a header");
        assert!(Arc::ptr_eq(&one, &lately.read(&texts[0]).expect("a header")));
    }

    #[test]
    fn what_is_refused_is_refused_again_and_a_proofs_header_is_not_kept() {
        let mut lately = Lately::default();
        let crit = encoded(r#"{"alg":"ES256","crit":["exp"]}"#);
        for _ in 0..2 {
            assert_eq!(lately.read(&crit).err(), Some(Malformed::Extension));
            assert_eq!(lately.read("e30=").err(), Some(Malformed::Base64));
        }
        let proof = encoded(r#"{"alg":"ES256","jwk":{"kty":"EC"}}"#);
        assert!(lately.read(&proof).expect("a header").jwk.is_some());
        let long = encoded(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(KEPT_BYTES_MAX)));
        lately.read(&long).expect("a header");
        assert!(lately.kept.iter().all(Option::is_none));
    }
}
