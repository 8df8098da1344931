//! An administrator's place at the desk ([`crate::admin::desk`]): who calls, and whether it is for good.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::admin::desk::Desk;
use crate::admin::{Action, Administration, Administrator, Resource};
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::DryRun;

/// An administrator who calls, and whether anything is to be changed.
#[derive(Debug)]
pub(in crate::http) struct Seat {
    administrator: Administrator,
    administration: Administration,
    dry_run: bool,
}

impl Seat {
    /// A desk, for who may do this to this kind of object.
    pub(in crate::http) fn desk(&self, action: Action, resource: Resource) -> Result<Desk<'_>, ApiError> {
        let desk = Desk::of(&self.administration, &self.administrator, action, resource)?;
        Ok(desk.dry(self.dry_run))
    }

    /// Where the management API is reached: what its links begin with.
    pub(in crate::http) fn url(&self) -> url::Url {
        self.administration.base_url()
    }

    /// The public URL: what issuers begin with.
    pub(in crate::http) fn public_url(&self) -> url::Url {
        self.administration.issuer().public_url()
    }
}

impl<S> FromRequestParts<S> for Seat
where
    S: Send + Sync,
    Administration: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(administrator) = Caller::from_request_parts(parts, state).await?;
        let DryRun(dry_run) = DryRun::from_request_parts(parts, state).await?;
        Ok(Self {
            administrator,
            administration: Administration::from_ref(state),
            dry_run,
        })
    }
}
