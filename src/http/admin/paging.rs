//! Lists, page by page.
//!
//! A page is an array. Its `Link` headers (RFC 8288) are absolute URLs of the public base (attack F26):
//! `rel="self"`, and `rel="next"` while there may be more. The cursor is opaque: a client that makes one up gets
//! a place in the same list or a 400, and nothing else (attack F45).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use crate::http::admin::error::ApiError;
use crate::http::admin::request::Query;
use crate::http::reply;

/// The most that one page holds, and what it holds if nothing is said: what Okta's lists have.
pub(in crate::http) const LIMIT_MAX: u32 = 200;

/// Which page is asked for.
#[derive(Debug, Clone)]
pub(in crate::http) struct Page {
    /// The last item of the page before, in the words of the list.
    pub(in crate::http) after: Option<String>,
    /// How many items, from 1 to [`LIMIT_MAX`].
    pub(in crate::http) limit: u32,
    /// What was asked, for the links.
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(parts.uri.clone())
    }
}

impl Page {
    /// Reads `after` and `limit` of a URL.
    ///
    /// # Errors
    /// 400 for a cursor that we did not make, or a limit that is no positive number.
    pub(in crate::http) fn of(uri: Uri) -> Result<Self, ApiError> {
        let query = Query::of(&uri)?;
        let refused = |text: &str| ApiError::validation("query", [text.to_owned()]);
        let limit = match query.one("limit") {
            None => LIMIT_MAX,
            Some(text) => match text.parse::<u32>() {
                // More than a page holds is no mistake: the links lead on.
                Ok(limit) if limit > 0 => limit.min(LIMIT_MAX),
                _ => return Err(refused("limit: a number from 1 to 200 is expected")),
            },
        };
        let after = match query.one("after") {
            None | Some("") => None,
            Some(cursor) => Some(read_cursor(cursor).ok_or_else(|| {
                refused("after: this is not a cursor of this API; follow the Link header with rel=\"next\"")
            })?),
        };
        Ok(Self { after, limit, uri })
    }

    /// How many items to fetch: one more than the page holds says whether there is a next one.
    pub(in crate::http) fn fetch(&self) -> u32 {
        self.limit + 1
    }

    /// The page out of a whole list that is in the order of its names.
    pub(in crate::http) fn cut<T>(&self, items: impl IntoIterator<Item = T>, name: impl Fn(&T) -> String) -> Vec<T> {
        items
            .into_iter()
            .filter(|item| self.after.as_ref().is_none_or(|after| name(item) > *after))
            .take(self.fetch() as usize)
            .collect()
    }

    /// Answers with at most a page of these items, [`Self::fetch`] of which were asked for.
    pub(in crate::http) fn answer<T>(
        &self,
        public_url: &Url,
        mut items: Vec<T>,
        name: impl Fn(&T) -> String,
        show: impl Fn(&T) -> Value,
    ) -> Response {
        let limit = self.limit as usize;
        let next = if items.len() > limit {
            items.get(limit - 1).map(name)
        } else {
            None
        };
        items.truncate(limit);
        let shown = Value::Array(items.iter().map(show).collect());
        self.answer_array(public_url, &shown, next.as_deref())
    }

    /// Answers with this array; `next` is the name of its last item if there is another page.
    pub(in crate::http) fn answer_array(&self, public_url: &Url, items: &Value, next: Option<&str>) -> Response {
        let mut response = reply::document(StatusCode::OK, items.to_string());
        let mut links = vec![(self.url(public_url, None), "self")];
        if let Some(next) = next {
            links.push((self.url(public_url, Some(next)), "next"));
        }
        for (url, relation) in links {
            if let Ok(value) = HeaderValue::from_str(&format!("<{url}>; rel=\"{relation}\"")) {
                response.headers_mut().append(header::LINK, value);
            }
        }
        response
    }

    /// The URL of this page, or of the one after this item.
    fn url(&self, public_url: &Url, after: Option<&str>) -> String {
        let mut url = public_url.clone();
        // Never joined: a path that begins with two slashes would name another host.
        url.set_path(self.uri.path());
        url.set_query(self.uri.query().filter(|query| !query.is_empty()));
        if let Some(after) = after {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| name != "after")
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(kept)
                .append_pair("after", &make_cursor(after));
        }
        url.into()
    }
}

/// A cursor says which form it has, so that a later form is told apart from this one.
const CURSOR_FORM: &str = "1:";

fn make_cursor(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR_FORM}{name}"))
}

fn read_cursor(text: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let name = text.strip_prefix(CURSOR_FORM)?;
    (!name.is_empty() && !name.chars().any(char::is_control)).then(|| name.to_owned())
}
