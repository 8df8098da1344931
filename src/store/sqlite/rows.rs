//! Between rows and values: what every table of SQLite shares.

use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::store::StoreError;

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_unix_seconds(row.try_get(column)?))
}

pub(super) fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    let seconds: Option<i64> = row.try_get(column)?;
    Ok(seconds.map(Timestamp::from_unix_seconds))
}

/// An identifier or other text with a grammar.
pub(super) fn parsed<T, E>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    parse(row.try_get(column)?).map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn optional_parsed<T, E>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(parse).transpose().map_err(|_| StoreError::Corrupt(column))
}

/// A word out of a closed list.
pub(super) fn word<T>(
    row: &SqliteRow,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    parse(row.try_get(column)?).ok_or(StoreError::Corrupt(column))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn number(row: &SqliteRow, column: &'static str) -> Result<u32, StoreError> {
    let number: i64 = row.try_get(column)?;
    u32::try_from(number).map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn bytes32(row: &SqliteRow, column: &'static str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(column))
}

pub(super) fn digest(bytes: &[u8], column: &'static str) -> Result<Digest, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Corrupt(column))?;
    Ok(Digest::from_bytes(bytes))
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A list of texts as it is kept.
pub(super) fn list(texts: &[String]) -> String {
    Value::from(texts).to_string()
}
