//! What an administration command tells: rows, an object, or that it is done.

use std::io::{self, Write};

use anyhow::bail;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::table::Table;

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// Columns, for people.
    #[default]
    Table,
    /// The management API's own JSON, for programs.
    Json,
}

/// A column: its head, and where its value is (RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// What a command tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// A list.
    Rows(Vec<Value>, &'static [Column]),
    /// One object, whole.
    Object(Value),
    /// It is done.
    Done(String),
}

impl Told {
    /// Prints one member of it alone (RFC 6901), for scripts; of a list, that of each row on a line.
    pub(crate) fn print_field(&self, place: &str, out: &mut impl Write) -> anyhow::Result<()> {
        let one = |value: &Value| value.pointer(place).map(cell);
        match self {
            Self::Rows(rows, _) => {
                for row in rows {
                    writeln!(out, "{}", one(row).unwrap_or_default())?;
                }
            }
            Self::Object(Value::Array(items)) => {
                for item in items {
                    writeln!(out, "{}", one(item).unwrap_or_default())?;
                }
            }
            Self::Object(object) => match one(object) {
                Some(value) => writeln!(out, "{value}")?,
                None => bail!("the answer has no `{place}`"),
            },
            Self::Done(_) => bail!("the answer has no `{place}`: it is empty"),
        }
        Ok(())
    }

    /// Prints it.
    pub(crate) fn print(self, output: Output, out: &mut impl Write) -> io::Result<()> {
        match (output, self) {
            (Output::Json, Self::Rows(rows, _)) => writeln!(out, "{:#}", Value::Array(rows)),
            (Output::Json, Self::Object(object)) => writeln!(out, "{object:#}"),
            (Output::Json, Self::Done(message)) => writeln!(out, "{:#}", json!({ "message": message })),
            (Output::Table, Self::Rows(rows, columns)) => write!(out, "{}", table(&rows, columns)),
            (Output::Table, Self::Object(object)) => write!(out, "{}", fields(&object)),
            (Output::Table, Self::Done(message)) => writeln!(out, "{message}"),
        }
    }
}

fn table(rows: &[Value], columns: &'static [Column]) -> Table {
    let mut table = Table::new(columns.iter().map(|(head, _)| *head));
    for row in rows {
        table.row(
            columns
                .iter()
                .map(|(_, place)| row.pointer(place).map(cell).unwrap_or_default()),
        );
    }
    table
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Every member of an object on a line of its own, but for links and what is null.
fn fields(object: &Value) -> Table {
    let mut table = Table::new(["FIELD", "VALUE"]);
    flatten("", object, &mut table);
    table
}

fn flatten(name: &str, value: &Value, table: &mut Table) {
    let below = |part: &str| {
        if name.is_empty() {
            part.to_owned()
        } else {
            format!("{name}.{part}")
        }
    };
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members.iter().filter(|(member, _)| *member != "_links") {
                flatten(&below(member), value, table);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (place, item) in items.iter().enumerate() {
                flatten(&below(&place.to_string()), item, table);
            }
        }
        scalar => table.row([name.to_owned(), cell(scalar)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("ID", "/id"), ("GRANTS", "/settings/grants")];

    fn printed(told: Told, output: Output) -> String {
        let mut out = Vec::new();
        told.print(output, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn rows_have_the_columns_that_were_asked_for() {
        let rows = || {
            vec![
                json!({ "id": "a", "settings": { "grants": ["x", "y"] } }),
                json!({ "id": "b" }),
            ]
        };
        assert_eq!(
            printed(Told::Rows(rows(), COLUMNS), Output::Table),
            "ID  GRANTS\na   x, y\nb\n"
        );
        let json: Value = serde_json::from_str(&printed(Told::Rows(rows(), COLUMNS), Output::Json)).expect("JSON");
        assert_eq!(json, Value::Array(rows()));
    }

    #[test]
    fn a_field_is_printed_alone() {
        let field = |told: Told, place: &str| {
            let mut out = Vec::new();
            let printed = told.print_field(place, &mut out);
            printed.map(|()| String::from_utf8(out).expect("UTF-8")).ok()
        };
        let object = || json!({ "credentials": { "client_secret": "s" } });
        assert_eq!(
            field(Told::Object(object()), "/credentials/client_secret").as_deref(),
            Some("s\n")
        );
        assert_eq!(
            field(Told::Object(object()), "/credentials/none"),
            None,
            "an empty line would pass for a value"
        );
        let rows = vec![json!({ "id": "a" }), json!({ "id": "b" })];
        assert_eq!(field(Told::Rows(rows, COLUMNS), "/id").as_deref(), Some("a\nb\n"));
    }

    #[test]
    fn an_object_is_told_whole_but_for_its_links() {
        let object = json!({
            "id": "a", "empty": null, "_links": { "self": "x" },
            "credentials": { "client_secret": "s" }, "keys": [{ "kid": "k" }], "list": ["x", "y"],
        });
        let expected = "FIELD                      VALUE\ncredentials.client_secret  s\nid                         a\n\
                        keys.0.kid                 k\nlist                       x, y\n";
        assert_eq!(printed(Told::Object(object), Output::Table), expected);
    }
}
