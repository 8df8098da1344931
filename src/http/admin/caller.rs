//! Who asks: the bearer token of every request to the management API (RFC 6750 section 2.1).

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::admin::{Action, AdminError, Administration, Administrator, Resource};
use crate::admin::desk::Desk;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::DryRun;

/// An administrator, and whether it is for good.
#[derive(Debug)]
pub(in crate::http) struct Caller {
    pub(in crate::http) administrator: Administrator,
    administration: Administration,
    dry_run: bool,
}

impl Caller {
    /// A desk, for who may do this to this kind of object.
    pub(in crate::http) fn desk(&self, action: Action, resource: Resource) -> Result<Desk<'_>, ApiError> {
        let desk = Desk::of(&self.administration, &self.administrator, action, resource)?;
        Ok(desk.dry(self.dry_run))
    }

    /// The public URL.
    pub(in crate::http) fn public_url(&self) -> url::Url {
        self.administration.issuer().public_url()
    }
}

impl FromRequestParts<Administration> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, administration: &Administration) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let Some(value) = value else { return Err(ApiError::unauthorized(false)) };
        let text = value.to_str().unwrap_or_default();
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && more.is_none() => token.trim_start(),
            _ => return Err(ApiError::unauthorized(true)),
        };
        let administrator = Administrator::authenticate(administration.issuer(), token)?;
        let DryRun(dry_run) = DryRun::from_request_parts(parts, administration).await?;
        Ok(Self {
            administrator,
            administration: administration.clone(),
            dry_run,
        })
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Token(_) => Self::unauthorized(true),
            AdminError::Scope(scope) => Self::insufficient_scope(&scope),
            AdminError::Role => Self::forbidden(),
            AdminError::NotFound { kind, id } => Self::not_found(kind, &id),
            AdminError::ReadOnly { kind, id } => Self::read_only(kind, &id),
            AdminError::Precondition => Self::precondition_failed(),
            AdminError::Invalid { object, causes } => Self::validation(object, causes),
            AdminError::State(cause) => Self::not_in_this_state(cause),
            AdminError::Contended => Self::conflict("somebody else changes it at the same time"),
            AdminError::Internal(cause) => Self::internal(cause.as_ref()),
        }
    }
}
