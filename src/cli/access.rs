//! `scopegate access`: who can reach which route, by which rule.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::table::{Table, duration};
use crate::oauth::access::{self, Model};
use crate::reach::{Reach, RouteReach, Way, reach};

/// Print who (client, group) can reach which route by which rule.
///
/// Every route is asked with the issuer's own decision: can this client, for a person of these groups, get one token with
/// the scopes that the route needs? What depends on a single request (`when`, `max_age`, key binding) narrows further.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// How to print the table.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns, for people.
    Table,
    /// One JSON array.
    Json,
    /// A Markdown table.
    Markdown,
}

/// Runs the command: exit code 0.
///
/// # Errors
/// When the configuration has errors (which are printed), or what writing to `out` says.
pub fn run(args: &AccessArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let settings = super::load(&args.config)?;
    // Only warnings can be found: what is wrong has been refused by `load`, which compiles it too.
    let model = settings
        .issuer
        .as_ref()
        .and_then(|issuer| access::compile(&issuer.declared).0);
    let rows = reach(&settings.policy, &model.unwrap_or_else(Model::default));
    match args.output {
        Output::Json => writeln!(out, "{:#}", Value::Array(rows.iter().map(to_json).collect()))?,
        Output::Table => write!(out, "{}", columns(&lines(&rows)))?,
        Output::Markdown => write!(out, "{}", markdown(&lines(&rows)))?,
    }
    Ok(ExitCode::SUCCESS)
}

const HEAD: [&str; 6] = ["API", "ROUTE", "CLIENT", "WHO", "BY", "TOKEN LIVES"];

/// One line of the table.
type Line = [String; 6];

fn lines(rows: &[RouteReach]) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in rows {
        let line = |client: &str, who: String, by: String, life: String| {
            [row.api.to_string(), row.route.clone(), client.to_owned(), who, by, life]
        };
        let dash = || "-".to_owned();
        match &row.reach {
            Reach::Everybody => lines.push(line("everybody", "no token needed".to_owned(), dash(), dash())),
            Reach::Denied => lines.push(line("nobody", "the route says `deny`".to_owned(), dash(), dash())),
            Reach::Ways(ways) if ways.is_empty() => {
                lines.push(line(
                    "nobody",
                    "no rule grants what the route needs".to_owned(),
                    dash(),
                    dash(),
                ));
            }
            Reach::Ways(ways) => lines.extend(ways.iter().map(|way| {
                match way {
                    Way::Granted(way) => line(
                        way.client.as_str(),
                        who(way.user.as_deref(), &way.groups, way.grant.as_str()),
                        format!("{}: {} / {}", way.server, way.policy, way.rule),
                        duration(way.access_token.as_secs()),
                    ),
                    Way::External {
                        server,
                        clients,
                        scopes,
                        managed,
                    } => line(
                        &clients
                            .as_ref()
                            .map_or_else(|| "any".to_owned(), |clients| clients.join(", ")),
                        if scopes.is_empty() {
                            "any valid token".to_owned()
                        } else {
                            format!("a token with {scopes}")
                        },
                        format!(
                            "{server} ({})",
                            if *managed { "managed over the API" } else { "external" }
                        ),
                        dash(),
                    ),
                }
            })),
        }
    }
    lines
}

fn who(user: Option<&str>, groups: &[String], grant: &str) -> String {
    match (user, groups) {
        (Some(user), _) => format!("{user} ({grant})"),
        (None, []) => format!("itself ({grant})"),
        (None, groups) => format!("{} ({grant})", groups.join(" and ")),
    }
}

fn columns(lines: &[Line]) -> String {
    let mut table = Table::new(HEAD);
    for line in lines {
        table.row(line.iter().map(String::as_str));
    }
    table.to_string()
}

fn markdown(lines: &[Line]) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = row(&HEAD.map(str::to_owned));
    text.push_str(&row(&HEAD.map(|_| "---".to_owned())));
    text.extend(lines.iter().map(|line| row(line)));
    text
}

fn to_json(row: &RouteReach) -> Value {
    let way = |way: &Way| match way {
        Way::Granted(way) => json!({
            "authorization_server": way.server.as_str(),
            "client": way.client.as_str(),
            "grant": way.grant.as_str(),
            "user": way.user,
            "groups": way.groups,
            "policy": way.policy,
            "rule": way.rule,
            "scope": way.scopes.to_string(),
            "access_token_seconds": way.access_token.as_secs(),
        }),
        Way::External {
            server,
            clients,
            scopes,
            managed,
        } => json!({
            "authorization_server": server.as_str(),
            if *managed { "managed" } else { "external" }: true,
            "clients": clients,
            "scope": scopes.to_string(),
        }),
    };
    let (open_to, ways) = match &row.reach {
        Reach::Everybody => ("everybody", Vec::new()),
        Reach::Denied => ("nobody", Vec::new()),
        Reach::Ways(ways) if ways.is_empty() => ("nobody", Vec::new()),
        Reach::Ways(ways) => ("tokens", ways.iter().map(way).collect()),
    };
    json!({ "api": row.api.as_str(), "hosts": row.hosts, "route": row.route, "open_to": open_to, "ways": ways })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::source::System;

    fn bank() -> Vec<RouteReach> {
        let path = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/examples/bank/scopegate.yaml"
        ));
        let settings = config::load(&path, &System).expect("the bank example has no error");
        let declared = &settings.issuer.as_ref().expect("the bank mints").declared;
        reach(&settings.policy, &access::compile(declared).0.expect("compiles"))
    }

    fn of<'l>(lines: &'l [Line], route: &str) -> Vec<(&'l str, &'l str, &'l str, &'l str)> {
        let cells = |line: &'l Line| (line[2].as_str(), line[3].as_str(), line[4].as_str(), line[5].as_str());
        lines.iter().filter(|line| line[1] == route).map(cells).collect()
    }

    #[test]
    fn the_banks_table_names_client_group_and_rule_for_each_route() {
        let lines = lines(&bank());
        let app = "transfers: The bank's own app / Moving money";
        assert_eq!(
            of(&lines, "GET /transfers"),
            [
                ("mobile", "customers (authorization_code)", app, "5m"),
                (
                    "nightly-batch",
                    "itself (client_credentials)",
                    "transfers: Services / Reading at night",
                    "10m"
                ),
            ]
        );
        assert_eq!(
            of(&lines, "POST /transfers"),
            [("mobile", "customers (authorization_code)", app, "5m")]
        );
        assert_eq!(of(&lines, "GET /health"), [("everybody", "no token needed", "-", "-")]);
        assert_eq!(
            of(&lines, "DELETE /transfers/{id}"),
            [("nobody", "no rule grants what the route needs", "-", "-")],
            "no rule gives transfers:approve"
        );
        let partners = "transactions: Partners and the app / Read-only sync";
        assert_eq!(
            of(&lines, "bank.transactions.v1.Transactions/List"),
            [
                ("mobile", "customers (authorization_code)", partners, "4h"),
                ("quickbooks", "customers (authorization_code)", partners, "4h"),
            ]
        );
    }

    #[test]
    fn every_form_tells_the_same_rows() {
        let rows = bank();
        let lines = lines(&rows);
        assert_eq!(columns(&lines).lines().count(), lines.len() + 1);
        assert_eq!(markdown(&lines).lines().count(), lines.len() + 2);
        let json: Vec<Value> = rows.iter().map(to_json).collect();
        let ways: usize = json
            .iter()
            .map(|row| row["ways"].as_array().map_or(0, |ways| ways.len().max(1)))
            .sum();
        assert_eq!(ways, lines.len());
    }
}
