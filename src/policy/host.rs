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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_h01_edge_e11_attack_d11_case_port_and_trailing_dot_make_no_difference() {
        for text in [
            "api.bank.example",
            "API.Bank.Example",
            "api.bank.example.",
            "api.bank.example:443",
            "api.bank.example:8443",
            "Api.Bank.Example.:80",
        ] {
            assert_eq!(normalise(text).as_deref(), Ok("api.bank.example"), "{text}");
        }
        assert!(matches!(normalise("h.example:80"), Ok(Cow::Borrowed("h.example"))));
    }

    #[test]
    fn edge_h02_addresses_are_bracketed_and_canonical() {
        assert_eq!(normalise("[::1]:8080").as_deref(), Ok("[::1]"));
        assert_eq!(normalise("[2001:DB8:0:0::1]").as_deref(), Ok("[2001:db8::1]"));
        assert_eq!(normalise("127.0.0.1:80").as_deref(), Ok("127.0.0.1"));
        for text in [
            "[::ffff:1.2.3.4]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "[::1",
            "[]",
            "::1",
            "[::1]x",
            "[::1]:",
            "[h.example]",
        ] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }

    #[test]
    fn edge_h04_edge_h05_what_names_no_host_is_refused() {
        let long = "a.".repeat(150);
        let label = format!("{}.example", "a".repeat(64));
        for text in [
            "a b",
            "a,b",
            "u@h",
            "api.bank.example@evil",
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "bücher.example",
            "a/b",
            "a%2eb",
            "h:",
            "h:x",
            "h:99999",
            "h:80:80",
            "h:+80",
            "*.example",
            "a\0b",
            "a!b",
            &long,
            &label,
        ] {
            assert!(normalise(text).is_err(), "{text:?}");
        }
        assert_eq!(
            normalise("XN--Bcher-KVA.example").as_deref(),
            Ok("xn--bcher-kva.example")
        );
    }
}
