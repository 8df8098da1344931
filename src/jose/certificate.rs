//! The thumbprint of a client certificate, in the forms in which Envoy hands one over (RFC 8705
//! section 3.1: the SHA-256 of the DER).
//!
//! - `source.certificate`: URL-encoded PEM. Decoding is percent-decoding alone: a `+` is a `+` of
//!   base64 and no space (case X13). Of a chain the first certificate is the client's own.
//! - `x-forwarded-client-cert`: elements by `,`, pairs by `;`, values in quotes where needed. It is
//!   read only if the configuration says that Envoy sets it (`SANITIZE_SET`), and then it has
//!   exactly one element: several mean that a hop passed on what it was sent, and none of them is
//!   believed (case X14).
//!
//! Whether the certificate is valid was Envoy's to check in the handshake. This module only names it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::jose::der;
use crate::model::digest::Digest;

/// The longest certificate text that is read, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 65536;

/// Why there is no thumbprint. The messages are fixed: none repeats a part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateError {
    /// Longer than [`CERTIFICATE_BYTES_MAX`].
    #[error("the certificate is longer than 65536 bytes")]
    TooLong,
    /// No URL-encoded PEM of a certificate.
    #[error("the certificate is not URL-encoded PEM")]
    NotPem,
    /// What the PEM holds is not one DER element.
    #[error("the PEM does not hold one DER certificate")]
    NotDer,
    /// The header does not follow Envoy's grammar.
    #[error("the x-forwarded-client-cert header is malformed")]
    MalformedHeader,
    /// The header has more than one element.
    #[error("the x-forwarded-client-cert header has several elements: set Envoy to SANITIZE_SET")]
    SeveralElements,
    /// `Hash` and `Cert` name different certificates.
    #[error("`Hash` and `Cert` of the x-forwarded-client-cert header disagree")]
    Disagreement,
}

/// The thumbprint of the first certificate of URL-encoded PEM.
///
/// # Errors
/// [`CertificateError`] when the text is too long, no PEM, or holds no DER.
pub fn thumbprint_of_url_encoded_pem(text: &str) -> Result<Digest, CertificateError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if text.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::TooLong);
    }
    let pem = percent_decode(text).ok_or(CertificateError::NotPem)?;
    let (before, rest) = pem.split_once(BEGIN).ok_or(CertificateError::NotPem)?;
    let (body, _) = rest.split_once(END).ok_or(CertificateError::NotPem)?;
    if !before.trim_matches(['\r', '\n', ' ']).is_empty() {
        return Err(CertificateError::NotPem);
    }
    let base64: String = body.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let der = STANDARD.decode(base64).map_err(|_| CertificateError::NotPem)?;
    match der::element(&der, der::SEQUENCE) {
        Some((content, [])) if !content.is_empty() => Ok(Digest::of(&der)),
        _ => Err(CertificateError::NotDer),
    }
}

/// The thumbprint that a sanitised `x-forwarded-client-cert` names, by `Hash` or `Cert`; `None` if
/// the one element has neither.
///
/// # Errors
/// [`CertificateError`] when the header is malformed, has several elements, or contradicts itself.
pub fn thumbprint_from_xfcc(header: &str) -> Result<Option<Digest>, CertificateError> {
    if header.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::TooLong);
    }
    let mut hash = None;
    let mut certificate = None;
    let mut rest = header;
    loop {
        let (pair, separator, after) = next_pair(rest)?;
        let (name, value) = pair.split_once('=').ok_or(CertificateError::MalformedHeader)?;
        let value = unquote(value)?;
        let slot = match name.trim_matches(' ') {
            name if name.eq_ignore_ascii_case("Hash") => Some((&mut hash, hex_digest(&value)?)),
            name if name.eq_ignore_ascii_case("Cert") => {
                Some((&mut certificate, thumbprint_of_url_encoded_pem(&value)?))
            }
            "" => return Err(CertificateError::MalformedHeader),
            _ => None,
        };
        if let Some((slot, digest)) = slot
            && slot.replace(digest).is_some()
        {
            return Err(CertificateError::MalformedHeader);
        }
        match separator {
            None => break,
            Some(b',') => return Err(CertificateError::SeveralElements),
            Some(_) => rest = after,
        }
    }
    match (hash, certificate) {
        (Some(hash), Some(certificate)) if hash != certificate => Err(CertificateError::Disagreement),
        (hash, certificate) => Ok(hash.or(certificate)),
    }
}

/// Cuts the text at the first `,` or `;` outside of quotes: what is before, which it is, what is after.
fn next_pair(text: &str) -> Result<(&str, Option<u8>, &str), CertificateError> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b';' if !quoted => return Ok((&text[..index], Some(byte), &text[index + 1..])),
            _ => {}
        }
    }
    if quoted {
        return Err(CertificateError::MalformedHeader);
    }
    Ok((text, None, ""))
}

/// The value without its quotes, `\"` read as `"`. A quote anywhere else is malformed.
fn unquote(value: &str) -> Result<String, CertificateError> {
    let value = value.trim_matches(' ');
    let Some(inner) = value.strip_prefix('"') else {
        return if value.contains('"') {
            Err(CertificateError::MalformedHeader)
        } else {
            Ok(value.to_owned())
        };
    };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    loop {
        match characters.next() {
            Some('\\') => plain.push(characters.next().ok_or(CertificateError::MalformedHeader)?),
            Some('"') if characters.as_str().is_empty() => return Ok(plain),
            Some('"') | None => return Err(CertificateError::MalformedHeader),
            Some(other) => plain.push(other),
        }
    }
}

/// 64 hex digits.
fn hex_digest(text: &str) -> Result<Digest, CertificateError> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(CertificateError::MalformedHeader);
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| CertificateError::MalformedHeader)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| CertificateError::MalformedHeader)?;
    }
    Ok(Digest::from_bytes(bytes))
}

/// Percent-decodes ASCII. `None` for a broken escape or a result that is not ASCII.
fn percent_decode(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut plain = String::with_capacity(text.len());
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        plain.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        plain.push_str(&piece[2..]);
    }
    plain.is_ascii().then_some(plain)
}

#[cfg(test)]
mod tests;
