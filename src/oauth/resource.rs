//! Resource indicators (RFC 8707): what a token is for.
//!
//! A resource is compared exactly as it is registered, trailing slash included (case 140): whoever wants both
//! spellings registers both. What is not registered at the server, or not among what was granted, is
//! `invalid_target`; nothing is left out silently.

use url::Url;

use crate::oauth::access::Server;
use crate::oauth::error::OAuthError;

/// The most resources of one request: each one is an `aud` of the token.
pub const RESOURCES_MAX: usize = 8;

/// Why a token cannot be for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidTarget {
    /// It is no absolute URI, or has a fragment.
    #[error("a resource has to be an absolute URI without a fragment")]
    Malformed,
    /// The server has no such resource.
    #[error("a resource that was asked for is not one of this authorization server")]
    Unknown,
    /// It is not among what was granted before.
    #[error("a resource that was asked for is not among those that were granted")]
    NotGranted,
    /// There are more than [`RESOURCES_MAX`].
    #[error("more than {RESOURCES_MAX} resources were asked for")]
    TooMany,
}

impl InvalidTarget {
    /// Our stable name.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_resource",
            Self::Unknown => "unsupported_resource",
            Self::NotGranted => "mismatched_resource",
            Self::TooMany => "too_many_resources",
        }
    }
}

/// Whether it can be a resource at all (RFC 8707 section 2).
#[must_use]
pub fn is_well_formed(resource: &str) -> bool {
    !resource.contains('#')
        && resource.bytes().all(|byte| byte.is_ascii_graphic())
        && Url::parse(resource).is_ok_and(|url| !url.cannot_be_a_base() || url.scheme() == "urn")
}

/// What a token is for: its `aud`, one at least.
///
/// `granted` are the resources that the grant was given for (empty: whatever the server offers), `requested` those
/// of the request (none: all that were granted, or the server's audience).
///
/// # Errors
/// [`InvalidTarget`].
pub fn choose<'r>(
    server: &Server,
    granted: &[String],
    requested: impl IntoIterator<Item = &'r str>,
) -> Result<Vec<String>, InvalidTarget> {
    let mut chosen: Vec<String> = Vec::new();
    for (index, resource) in requested.into_iter().enumerate() {
        if index == RESOURCES_MAX {
            return Err(InvalidTarget::TooMany);
        }
        // The server's own audience may be a plain name; whatever else is asked for is a URI.
        if resource != server.audience && !is_well_formed(resource) {
            return Err(InvalidTarget::Malformed);
        }
        if !server.serves(resource) {
            return Err(InvalidTarget::Unknown);
        }
        if !granted.is_empty() && !granted.iter().any(|known| known == resource) {
            return Err(InvalidTarget::NotGranted);
        }
        if !chosen.iter().any(|known| known == resource) {
            chosen.push(resource.to_owned());
        }
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    // A resource that the server has lost since is no part of a token any more.
    let living: Vec<String> = granted.iter().filter(|known| server.serves(known)).cloned().collect();
    match (granted.is_empty(), living.is_empty()) {
        (true, _) => Ok(vec![server.audience.clone()]),
        (false, true) => Err(InvalidTarget::Unknown),
        (false, false) => Ok(living),
    }
}

impl From<InvalidTarget> for OAuthError {
    fn from(problem: InvalidTarget) -> Self {
        Self::InvalidTarget(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::access::compile;
    use crate::oauth::declared::IssuerDeclaration;
    use crate::oauth::sample::{server, server_id, texts};

    const AUDIENCE: &str = "https://api.bank.example/transfers";

    fn transfers() -> std::sync::Arc<Server> {
        let mut declared = server("transfers", vec![], vec![]);
        declared.options.resources = texts(&[
            "https://mcp.bank.example",
            "https://mcp.bank.example/a",
            "https://mcp.bank.example/a/",
        ]);
        let declaration = IssuerDeclaration {
            servers: vec![declared],
            ..IssuerDeclaration::default()
        };
        let model = compile(&declaration).0.expect("sound");
        std::sync::Arc::clone(&model.servers[&server_id("transfers")])
    }

    fn granted(list: &[&str]) -> Vec<String> {
        list.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn case_139_case_140_a_resource_is_an_absolute_uri_of_this_server_compared_exactly() {
        let server = transfers();
        let rows: [(&[&str], Result<&[&str], InvalidTarget>); 11] = [
            (&[], Ok(&[AUDIENCE])),
            (&[AUDIENCE], Ok(&[AUDIENCE])),
            (&["https://mcp.bank.example/a"], Ok(&["https://mcp.bank.example/a"])),
            (&["https://mcp.bank.example/a/"], Ok(&["https://mcp.bank.example/a/"])),
            (&["https://mcp.bank.example"], Ok(&["https://mcp.bank.example"])),
            (&["https://mcp.bank.example/"], Err(InvalidTarget::Unknown)),
            (&["https://mcp.bank.example/A"], Err(InvalidTarget::Unknown)),
            (&["https://mcp.bank.example/a#x"], Err(InvalidTarget::Malformed)),
            (&["/a"], Err(InvalidTarget::Malformed)),
            (&["mailto:a@b"], Err(InvalidTarget::Malformed)),
            (
                &[AUDIENCE, "https://mcp.bank.example", AUDIENCE],
                Ok(&[AUDIENCE, "https://mcp.bank.example"]),
            ),
        ];
        for (requested, expected) in rows {
            let chosen = choose(&server, &[], requested.iter().copied());
            assert_eq!(chosen, expected.map(granted), "{requested:?}");
        }
    }

    #[test]
    fn attack_e21_a_flood_of_resources_is_refused_before_it_is_looked_at() {
        let server = transfers();
        let chosen = choose(&server, &[], std::iter::repeat_n(AUDIENCE, RESOURCES_MAX));
        assert_eq!(chosen, Ok(granted(&[AUDIENCE])));
        let chosen = choose(&server, &[], std::iter::repeat_n(AUDIENCE, RESOURCES_MAX + 1));
        assert_eq!(chosen, Err(InvalidTarget::TooMany));
    }

    #[test]
    fn case_139_what_was_not_granted_is_not_given_later() {
        let server = transfers();
        let both = granted(&[AUDIENCE, "https://mcp.bank.example"]);
        assert_eq!(choose(&server, &both, []), Ok(both.clone()));
        assert_eq!(choose(&server, &both, [AUDIENCE]), Ok(granted(&[AUDIENCE])));
        assert_eq!(
            choose(&server, &both, ["https://mcp.bank.example/a"]),
            Err(InvalidTarget::NotGranted)
        );
        assert_eq!(
            choose(&server, &granted(&["https://gone.example"]), []),
            Err(InvalidTarget::Unknown)
        );
    }
}
