//! `/api/v1/logs`: the audit log, in the shape of Okta's system log.
//!
//! `filter` knows `eventType eq "…"`, and several of them joined by `or`; everything else of its grammar is refused,
//! not ignored: a filter that is not understood must not look like an empty log.

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::admin::{Action, Administration, Resource};
use crate::audit::AuditKind;
use crate::http::admin::error::ApiError;
use crate::http::admin::paging::Page;
use crate::http::admin::request::Query;
use crate::http::admin::seat::Seat;
use crate::http::admin::wire;
use crate::model::id::ClientId;
use crate::model::time::Timestamp;
use crate::store::objects::{AuditEntry, AuditQuery};

/// The most event types in one filter.
const KINDS_MAX: usize = 20;

pub(super) fn routes() -> Router<Administration> {
    Router::new().route("/api/v1/logs", get(list))
}

async fn list(seat: Seat, page: Page, query: Query) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Logs)?;
    let wrong = |text: &str| ApiError::validation("query", [text.to_owned()]);
    let time = |name: &str| match query.one(name) {
        None => Ok(None),
        Some(text) => moment(text)
            .map(Some)
            .ok_or_else(|| wrong("since, until: a time like `2026-01-31T00:00:00Z` is expected")),
    };
    let descending = match query.one("sortOrder") {
        None | Some("ASCENDING") => false,
        Some("DESCENDING") => true,
        Some(_) => return Err(wrong("sortOrder: `ASCENDING` or `DESCENDING` is expected")),
    };
    if query.one("q").is_some_and(|words| !words.is_empty()) {
        return Err(wrong("q: searching for words is not supported; use `filter`"));
    }
    let after = match &page.after {
        None => 0,
        Some(cursor) => cursor
            .parse()
            .ok()
            .filter(|place| *place > 0)
            .ok_or_else(|| wrong("after: this is not a cursor of this list"))?,
    };
    let kinds = match query.one("filter") {
        None => Vec::new(),
        Some(filter) => kinds(filter).map_err(|text| wrong(&text))?,
    };
    let entries = desk
        .log(AuditQuery {
            after,
            kinds,
            since: time("since")?,
            until: time("until")?,
            limit: page.fetch(),
            descending,
        })
        .await?;
    Ok(page.answer(&seat.url(), entries, |entry| entry.sequence.to_string(), show))
}

/// A moment: RFC 3339.
fn moment(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_seconds(at.as_second()))
}

/// The event types of a filter.
fn kinds(filter: &str) -> Result<Vec<String>, String> {
    let mut kinds = Vec::new();
    for part in filter.split(" or ") {
        let part = part.trim().trim_matches(['(', ')']).trim();
        let quoted = part.strip_prefix("eventType eq ").map(str::trim);
        let name = quoted.and_then(|quoted| quoted.strip_prefix('"')?.strip_suffix('"'));
        let Some(name) = name else {
            return Err("filter: `eventType eq \"…\"`, or several joined by `or`, is expected".to_owned());
        };
        if AuditKind::parse(name).is_none() {
            return Err(format!("filter: `{}` is no event type", name.escape_debug()));
        }
        kinds.push(name.to_owned());
    }
    if kinds.len() > KINDS_MAX {
        return Err(format!("filter: at most {KINDS_MAX} event types"));
    }
    Ok(kinds)
}

fn show(entry: &AuditEntry) -> Value {
    let event = &entry.event;
    let client = event.client.as_ref().map(ClientId::as_str);
    let actor = event.actor.as_deref().or(client).unwrap_or("system");
    let actor_kind = if actor == "system" {
        "SystemPrincipal"
    } else {
        "PublicClientApp"
    };
    let mut targets = Vec::new();
    if let Some(target) = &event.target {
        let mut shown = json!({ "id": target.id, "type": target.kind });
        let (from, to) = (event.detail.get("before"), event.detail.get("after"));
        if from.is_some() || to.is_some() {
            shown["changeDetails"] = json!({ "from": from, "to": to });
        }
        targets.push(shown);
    }
    if let Some(server) = &event.server {
        let known = event.target.as_ref().is_some_and(|target| target.id == server.as_str());
        if !known {
            targets.push(json!({ "id": server.as_str(), "type": "AuthorizationServer" }));
        }
    }
    let is_failure = event.error_id.is_some();
    json!({
        "uuid": entry.sequence.to_string(),
        "version": "0",
        "published": wire::time(event.at),
        "eventType": event.kind.as_str(),
        "severity": if is_failure { "WARN" } else { "INFO" },
        "displayMessage": event.kind.as_str(),
        "actor": { "id": actor, "type": actor_kind, "alternateId": actor },
        "client": { "id": client },
        "outcome": {
            "result": if is_failure { "FAILURE" } else { "SUCCESS" },
            "reason": event.detail.get("reason"),
        },
        "target": targets,
        "debugContext": { "debugData": { "detail": event.detail, "errorId": event.error_id } },
        "transaction": { "type": "WEB", "id": event.error_id },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_event_types_and_nothing_else() {
        let one = vec!["oauth2.as.created".to_owned()];
        assert_eq!(kinds("eventType eq \"oauth2.as.created\""), Ok(one));
        let both = kinds("eventType eq \"user.lifecycle.create\" or eventType eq \"user.lifecycle.delete\"");
        assert_eq!(both.map(|kinds| kinds.len()), Ok(2));
        for wrong in [
            "",
            "eventType eq oauth2.as.created",
            "eventType eq \"no.such.event\"",
            "eventType ne \"oauth2.as.created\"",
            "eventType eq \"oauth2.as.created\" and actor.id eq \"x\"",
            "actor.id eq \"x\"",
            "eventType eq \"x\" or 1=1",
        ] {
            assert!(kinds(wrong).is_err(), "{wrong}");
        }
    }
}
