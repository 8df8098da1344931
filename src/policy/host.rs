//! Reads an authority into the host that rules are written for.
//!
//! Lower case, port and one trailing dot taken off. Refused, because Envoy hands them on unchanged
//! and servers differ on them: userinfo, white space, commas, anything outside letters, digits, `-`,
//! `_` and `.`, empty or oversized labels, U-labels (write the A-label), zone identifiers, and IPv6
//! addresses that map IPv4. A port is read and forgotten: a rule's host holds on every port.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The longest host name (RFC 1035 section 2.3.4), in bytes.
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Why an authority names no host: a sentence for the log, from a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHost(pub &'static str);

/// The host of an authority (`host`, `host:port`, `[v6]:port`), normalised.
///
/// # Errors
/// [`BadHost`] says what keeps the text from naming one host with certainty.
pub fn normalise(authority: &str) -> Result<Cow<'_, str>, BadHost> {
    if authority.is_empty() {
        return Err(BadHost("the host is empty"));
    }
    if authority.len() > HOST_BYTES_MAX + ".:65535".len() {
        return Err(BadHost("the host is too long"));
    }
    if let Some(rest) = authority.strip_prefix('[') {
        return address(rest).map(Cow::Owned);
    }
    let host = match authority.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => return Err(BadHost("the host has a bad port")),
        None => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > HOST_BYTES_MAX {
        return Err(BadHost("the host is too long"));
    }
    let mut label = 0;
    let mut upper = false;
    for &byte in host.as_bytes() {
        match byte {
            b'.' if label == 0 => return Err(BadHost("the host has an empty label")),
            b'.' => label = 0,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                upper = true;
                label += 1;
            }
            _ => return Err(BadHost("the host holds a character that no host name has")),
        }
        if label > LABEL_BYTES_MAX {
            return Err(BadHost("the host has an oversized label"));
        }
    }
    if label == 0 {
        return Err(BadHost("the host has an empty label"));
    }
    Ok(if upper {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// The canonical form of a bracketed IPv6 address (RFC 5952), the opening bracket already off.
fn address(rest: &str) -> Result<String, BadHost> {
    let (text, tail) = rest
        .split_once(']')
        .ok_or(BadHost("the host has an unclosed bracket"))?;
    if !tail.is_empty() && !tail.strip_prefix(':').is_some_and(is_port) {
        return Err(BadHost("the host has a bad port"));
    }
    let address: Ipv6Addr = text.parse().map_err(|_| BadHost("the host is no ipv6 address"))?;
    if address.to_ipv4_mapped().is_some() {
        return Err(BadHost("the host is an ipv4-mapped address"));
    }
    Ok(format!("[{address}]"))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}
