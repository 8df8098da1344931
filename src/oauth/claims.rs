//! Custom claims: a CEL expression over `user`, `client`, `grant` and `scopes` gives each value.
//!
//! | variable | what it holds |
//! |---|---|
//! | `user` | `login`, `groups` (list), `profile` (map); not there when nobody signed in |
//! | `client` | `id`, `kind` |
//! | `grant` | the grant type's short name |
//! | `scopes` | the granted scopes (list) |
//!
//! A claim whose value is null, or that asks for an attribute that is not there, is absent. A claim
//! that cannot be computed for another reason fails the request: there is no half token (case 106).
//! A claim that asks for `user` is absent from a token without one (case 081).
//!
//! A *list* that is too large for a token (somebody is in thousands of groups) fails nothing and is not cut: the
//! token says where the list is, as a distributed claim (OpenID Connect Core section 5.6.2), and userinfo has it
//! whole (case 107).
//!
//! The expression's length and nesting are bounded when it is read: the interpreter has no limit of
//! its own, and its parser works by recursion.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, ExecutionError, Program};
use serde_json::{Map, Value, json};

use crate::model::finding::nearest;
use crate::model::nesting::Nesting;
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::client::Client;
use crate::oauth::declared::{ClaimPlace, ClientKind};
use crate::oauth::grant::GrantType;

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;

/// The deepest nesting of brackets. At twice as much the parser's recursion fills a small stack.
pub const BRACKETS_MAX: usize = 8;

/// The most conditionals, and the longest run of prefix operators.
pub const CONDITIONALS_MAX: usize = 16;

/// How deep loops may nest: the cost is a power of it.
pub const LOOPS_MAX: usize = 2;

/// The largest value of one claim, in bytes of JSON: a token has to fit into a header.
pub const CLAIM_BYTES_MAX: usize = 4096;

/// The variables that an expression may name.
pub const VARIABLES: [&str; 4] = ["client", "grant", "scopes", "user"];

/// Claims that say what the token is and whom it speaks for. Only the issuer sets them. (`may_act`, by which a server
/// says who may act for a user, is a claim like others: RFC 8693 section 4.4.)
pub const RESERVED: [&str; 30] = [
    "acr",
    "act",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "c_hash",
    "cid",
    "client_id",
    "cnf",
    "events",
    "exp",
    "iat",
    "idp",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "s_hash",
    "scope",
    "scp",
    "sid",
    "sub",
    "sub_id",
    "token_type",
    "typ",
    "uid",
    "ver",
];

/// A claim that the compiler has accepted.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its name: never one of [`RESERVED`].
    pub name: String,
    /// Which document carries it.
    pub place: ClaimPlace,
    /// Present only if one of these was granted; always if there are none.
    pub scopes: Vec<Scope>,
    /// What gives its value.
    pub value: Expression,
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    program: Arc<Program>,
    names_user: bool,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Expression(..)")
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    /// It is longer than [`EXPRESSION_BYTES_MAX`].
    #[error("the expression has {0} bytes, more than {EXPRESSION_BYTES_MAX}")]
    TooLong(usize),
    /// It nests deeper than [`BRACKETS_MAX`], or has more than [`CONDITIONALS_MAX`].
    #[error(
        "the expression has more than {BRACKETS_MAX} brackets inside each other, or more than {CONDITIONALS_MAX} conditionals"
    )]
    TooDeep,
    /// It does not parse.
    #[error("the expression does not parse at line {line}, column {column} of it: {problem}")]
    Syntax {
        /// The line inside the expression, from 1.
        line: usize,
        /// The column inside the expression, from 1.
        column: usize,
        /// What the parser says, on one line.
        problem: String,
    },
    /// It names a variable that is not there.
    #[error("the expression names `{name}`, which is none of `user`, `client`, `grant`, `scopes`")]
    UnknownVariable {
        /// The name.
        name: String,
        /// The variable that may be meant.
        nearest: Option<&'static str>,
    },
    /// Its loops (`map`, `filter`, `exists`, `all`) nest deeper than [`LOOPS_MAX`].
    #[error("the expression nests loops deeper than {LOOPS_MAX}")]
    TooManyLoops,
}

/// Why a claim has no value and the request therefore no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the claim `{claim}` could not be evaluated: {problem}")]
pub struct ClaimFailure {
    /// The claim's name.
    pub claim: String,
    /// What failed, without values.
    pub problem: &'static str,
}

/// What the expressions may look at.
#[derive(Debug, Clone, Copy)]
pub struct ClaimFacts<'a> {
    /// The client that asks.
    pub client: &'a Client,
    /// The grant that it asks by.
    pub grant: GrantType,
    /// The scopes that were granted.
    pub scopes: &'a ScopeSet,
    /// The user that the token speaks for.
    pub user: Option<ClaimUser<'a>>,
}

/// What the expressions may know of a user.
#[derive(Debug, Clone, Copy)]
pub struct ClaimUser<'a> {
    /// The login.
    pub login: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// The profile's attributes.
    pub profile: &'a Map<String, Value>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`InvalidExpression`] with the place inside the expression.
    pub fn parse(text: &str) -> Result<Self, InvalidExpression> {
        check_bounds(text)?;
        let syntax = |line: usize, column: usize, problem: String| InvalidExpression::Syntax { line, column, problem };
        // SECURITY: the generated parser may panic on odd input; that is a mistake in the file, not
        // a reason to stop.
        let program = catch_unwind(AssertUnwindSafe(|| Program::compile(text)))
            .map_err(|_| syntax(1, 1, "the parser gave up".to_owned()))?
            .map_err(|errors| {
                let first = errors.errors.iter().min_by_key(|error| error.pos);
                let (line, column) = first.map_or((1, 1), |error| error.pos);
                let message = first.map_or_else(String::new, |error| error.msg.replace('\n', " "));
                // The end of the input is reported as one past the last character, or as a place
                // outside of it: the caret then stands behind the text.
                let line = usize::try_from(line).unwrap_or(1).max(1);
                let width = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
                let column = usize::try_from(column).unwrap_or(width).clamp(1, width + 1);
                syntax(line, column, message)
            })?;
        let mut names = BTreeSet::new();
        free_variables(program.expression(), &mut Vec::new(), &mut names)
            .map_err(|TooManyLoops| InvalidExpression::TooManyLoops)?;
        if let Some(name) = names.iter().find(|name| !VARIABLES.contains(name)) {
            return Err(InvalidExpression::UnknownVariable {
                name: (*name).to_owned(),
                nearest: nearest(name, VARIABLES),
            });
        }
        let names_user = names.contains("user");
        Ok(Self {
            program: Arc::new(program),
            names_user,
        })
    }

    /// The value, or `None` where it is absent. How large it is is the caller's matter.
    fn evaluate(&self, context: &Context<'_, '_>, has_user: bool) -> Result<Option<Value>, &'static str> {
        if self.names_user && !has_user {
            return Ok(None);
        }
        let value = match catch_unwind(AssertUnwindSafe(|| self.program.execute(context))) {
            Err(_) => return Err("the interpreter gave up"),
            Ok(Err(ExecutionError::NoSuchKey(_))) => return Ok(None),
            Ok(Err(_)) => return Err("the expression failed"),
            Ok(Ok(value)) => value.json().map_err(|_| "the value has no JSON form")?,
        };
        if value.is_null() {
            return Ok(None);
        }
        Ok(Some(value))
    }
}

/// The claim that names the lists that a token is too small for (OIDC Core section 5.6.2).
pub const CLAIM_NAMES: &str = "_claim_names";

/// The source that [`CLAIM_NAMES`] refers to: the userinfo endpoint.
pub const CLAIM_SOURCE: &str = "userinfo";

/// The lists that a token is too small for, whole: what userinfo tells beside its own claims.
///
/// # Errors
/// [`ClaimFailure`] names the first claim that could not be computed.
pub fn overflowing(claims: &[Claim], facts: &ClaimFacts<'_>) -> Result<Map<String, Value>, ClaimFailure> {
    let of_tokens = claims.iter().filter(|claim| claim.place != ClaimPlace::Userinfo);
    let mut values = values(of_tokens, facts)?;
    values.retain(|_, value| value.is_array() && is_too_large(value));
    Ok(values)
}

/// The custom claims of one document.
///
/// # Errors
/// [`ClaimFailure`] names the first claim that could not be computed; nothing is issued then.
pub fn evaluate(
    claims: &[Claim],
    place: ClaimPlace,
    facts: &ClaimFacts<'_>,
) -> Result<Map<String, Value>, ClaimFailure> {
    let mut values = values(claims.iter().filter(|claim| claim.place == place), facts)?;
    if place == ClaimPlace::Userinfo {
        // An answer has room that a header has not.
        return Ok(values);
    }
    let too_large: Vec<String> = values
        .iter()
        .filter(|(_, value)| is_too_large(value))
        .map(|(name, _)| name.clone())
        .collect();
    let mut elsewhere = Map::new();
    for name in too_large {
        if values.remove(&name).is_some_and(|value| value.is_array()) {
            elsewhere.insert(name, json!(CLAIM_SOURCE));
        } else {
            return Err(ClaimFailure {
                claim: name,
                problem: "the value is larger than 4096 bytes",
            });
        }
    }
    if !elsewhere.is_empty() {
        values.insert(CLAIM_NAMES.to_owned(), Value::Object(elsewhere));
    }
    Ok(values)
}

fn is_too_large(value: &Value) -> bool {
    value.to_string().len() > CLAIM_BYTES_MAX
}

/// The values of these claims, as far as their scopes were granted.
fn values<'c>(
    claims: impl Iterator<Item = &'c Claim>,
    facts: &ClaimFacts<'_>,
) -> Result<Map<String, Value>, ClaimFailure> {
    let mut values = Map::new();
    let mut wanted = claims
        .filter(|claim| claim.scopes.is_empty() || claim.scopes.iter().any(|scope| facts.scopes.contains(scope)))
        .peekable();
    if wanted.peek().is_none() {
        return Ok(values);
    }
    let failure = |claim: &Claim, problem| ClaimFailure {
        claim: claim.name.clone(),
        problem,
    };
    let mut context = Context::default();
    for (name, value) in variables(facts) {
        let value = cel::to_value(value).unwrap_or(cel::Value::Null);
        context.add_variable_from_value(name, value);
    }
    for claim in wanted {
        let value = claim.value.evaluate(&context, facts.user.is_some());
        if let Some(value) = value.map_err(|problem| failure(claim, problem))? {
            values.insert(claim.name.clone(), value);
        }
    }
    Ok(values)
}

fn variables(facts: &ClaimFacts<'_>) -> Vec<(&'static str, Value)> {
    let scopes: Vec<&str> = facts.scopes.iter().map(Scope::as_str).collect();
    let kind = match facts.client.kind {
        ClientKind::Web => "web",
        ClientKind::Native => "native",
        ClientKind::Browser => "browser",
        ClientKind::Service => "service",
    };
    let mut variables = vec![
        ("client", json!({ "id": facts.client.id.as_str(), "kind": kind })),
        ("grant", json!(facts.grant.as_str())),
        ("scopes", json!(scopes)),
    ];
    if let Some(user) = facts.user {
        let user = json!({ "login": user.login, "groups": user.groups, "profile": user.profile });
        variables.push(("user", user));
    }
    variables
}

struct TooManyLoops;

/// The names that an expression takes from outside: those that no loop of it binds.
fn free_variables<'e>(
    expression: &'e IdedExpr,
    bound: &mut Vec<&'e str>,
    names: &mut BTreeSet<&'e str>,
) -> Result<(), TooManyLoops> {
    let entries = |entry: &'e EntryExpr| match entry {
        EntryExpr::StructField(field) => [None, Some(&field.value)],
        EntryExpr::MapEntry(entry) => [Some(&entry.key), Some(&entry.value)],
    };
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                names.insert(name);
            }
        }
        Expr::Select(select) => free_variables(&select.operand, bound, names)?,
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                free_variables(part, bound, names)?;
            }
        }
        Expr::List(list) => {
            for part in &list.elements {
                free_variables(part, bound, names)?;
            }
        }
        Expr::Map(map) => {
            for part in map.entries.iter().flat_map(|entry| entries(&entry.expr)).flatten() {
                free_variables(part, bound, names)?;
            }
        }
        Expr::Struct(built) => {
            for part in built.entries.iter().flat_map(|entry| entries(&entry.expr)).flatten() {
                free_variables(part, bound, names)?;
            }
        }
        Expr::Comprehension(comprehension) => {
            free_variables(&comprehension.iter_range, bound, names)?;
            free_variables(&comprehension.accu_init, bound, names)?;
            // Each loop binds two names here: its variable (or two) and its result.
            let outside = bound.len();
            bound.push(&comprehension.iter_var);
            bound.push(comprehension.iter_var2.as_deref().unwrap_or(&comprehension.accu_var));
            if bound.len() > 2 * LOOPS_MAX {
                return Err(TooManyLoops);
            }
            for part in [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                free_variables(part, bound, names)?;
            }
            bound.truncate(outside);
        }
    }
    Ok(())
}

/// Bounds what the recursive parser will see.
fn check_bounds(text: &str) -> Result<(), InvalidExpression> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(InvalidExpression::TooLong(text.len()));
    }
    let nesting = Nesting::of(text);
    let too_deep = nesting.brackets > BRACKETS_MAX
        || nesting.conditionals > CONDITIONALS_MAX
        || nesting.prefixes > CONDITIONALS_MAX;
    if too_deep {
        return Err(InvalidExpression::TooDeep);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
