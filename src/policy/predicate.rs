//! CEL expressions over `token`, `path` and `request`: read once at load, bounded, total at run time.
//!
//! - At load: at most [`EXPRESSION_BYTES_MAX`] bytes and [`NESTING_MAX`] brackets inside each other, at
//!   most [`LOOPS_MAX`] loops, no more than [`LOOP_NESTING_MAX`] inside each other; every variable, function and wildcard name must exist; a
//!   pattern of `matches` must be a literal that compiles. A mistake is an error with its column.
//! - At run time: an error, a missing claim, or a value that is no bool makes a condition false.
//! - Only what the expression reads is converted: `token.sub` does not pay for the other claims.
//! - SECURITY: a header that reached us in a form that the upstream may read differently (repeated,
//!   joined by Envoy, holding bytes that are no UTF-8) makes the whole condition false when it is read,
//!   be it by `==` or by `!=`: see [`crate::policy::headers`].
//!
//! There is no `now`: a condition over the clock would make a verdict that no test can repeat.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::objects::{Key, Map as CelMap};
use cel::{Context, Env, ExecutionError, Program, Value};
use serde_json::Value as Json;

use crate::policy::expression::{self, Fields, Reads};
use crate::policy::facts::RequestFacts;
use crate::policy::headers;
use crate::policy::held::{Claim, Claims};
use crate::policy::host;

pub use crate::policy::expression::{BadExpression, EXPRESSION_BYTES_MAX, LOOP_NESTING_MAX, LOOPS_MAX, NESTING_MAX};

/// Names and values of a template's wildcards, decoded.
pub type Captures = Vec<(Arc<str>, String)>;

/// What an expression may look at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a, 'r> {
    /// `token`; `None` where there is no caller.
    pub claims: Option<Claims<'a>>,
    /// `path`.
    pub captures: &'a [(Arc<str>, String)],
    /// `request`: its host is normalised, its path is as it was sent, without the query.
    pub facts: &'a RequestFacts<'r>,
}

/// An expression that was read.
pub struct Expression {
    text: String,
    program: Program,
    env: Arc<Env>,
    reads: Reads,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Why an expression has no value: a sentence for the log, from a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unevaluated {
    /// It asks for a claim, wildcard or header that is not there.
    Absent,
    /// It reads a header that the upstream may read differently.
    DoubtfulHeader,
    /// Types do not fit, an index is out of bounds, or the like.
    Failed,
}

impl Unevaluated {
    /// The sentence.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Absent => "the condition reads something that is not there",
            Self::DoubtfulHeader => "the condition reads a header that the upstream may read differently",
            Self::Failed => "the condition cannot be evaluated",
        }
    }
}

/// The functions and macros that expressions may use: one for all expressions of a policy.
#[must_use]
pub fn environment() -> Arc<Env> {
    Arc::new(Env::stdlib())
}

impl Expression {
    /// Reads an expression. `wildcards` are the names that `path` has.
    ///
    /// # Errors
    /// [`BadExpression`] with the column inside the text.
    pub fn parse(env: &Arc<Env>, text: &str, wildcards: &[&str]) -> Result<Self, BadExpression> {
        let (program, reads) = expression::read(env, text, wildcards)?;
        Ok(Self {
            text: text.to_owned(),
            program,
            env: Arc::clone(env),
            reads,
        })
    }

    /// The text, as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it looks at `path`.
    #[must_use]
    pub fn reads_path(&self) -> bool {
        self.reads.path != Fields::None
    }

    /// Whether it looks at `token`.
    #[must_use]
    pub fn reads_token(&self) -> bool {
        self.reads.token != Fields::None
    }

    pub(in crate::policy) fn tree(&self) -> &cel::IdedExpr {
        self.program.expression()
    }

    /// The value for this input.
    ///
    /// # Errors
    /// [`Unevaluated`] if there is none.
    pub fn evaluate(&self, input: &Input<'_, '_>) -> Result<Value, Unevaluated> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        if self.reads.token != Fields::None {
            let claims = input.claims.ok_or(Unevaluated::Absent)?;
            context.add_variable_from_value("token", of_claims(claims, &self.reads.token));
        }
        if self.reads.path != Fields::None {
            let captures = input
                .captures
                .iter()
                .map(|(name, value)| (key(name), Value::from(value.as_str())));
            context.add_variable_from_value("path", map(captures));
        }
        if self.reads.request {
            context.add_variable_from_value("request", self.request(input)?);
        }
        self.program.execute(&context).map_err(|error| match error {
            ExecutionError::NoSuchKey(_) => Unevaluated::Absent,
            _ => Unevaluated::Failed,
        })
    }

    /// Whether a condition holds. Only `true` does.
    ///
    /// # Errors
    /// [`Unevaluated`] if it has no value; a value that is no bool is [`Unevaluated::Failed`].
    pub fn holds(&self, input: &Input<'_, '_>) -> Result<bool, Unevaluated> {
        match self.evaluate(input)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(Unevaluated::Failed),
        }
    }

    fn request(&self, input: &Input<'_, '_>) -> Result<Value, Unevaluated> {
        let text = |name: &str, value: &str| (key(name), Value::from(value));
        let host = host::normalise(input.facts.host).unwrap_or_default();
        let mut fields = vec![
            text("method", input.facts.method),
            text("host", &host),
            text("path", input.facts.path()),
            text("scheme", input.facts.scheme),
        ];
        if self.reads.headers != Fields::None {
            let mut values: HashMap<Key, Value> = HashMap::new();
            for header in &input.facts.headers {
                let name = header.name.to_ascii_lowercase();
                if name.starts_with(':') || !self.reads.headers.has(&name) {
                    continue;
                }
                let value = headers::certain(input.facts, &name).ok_or(Unevaluated::DoubtfulHeader)?;
                values.insert(key(&name), Value::from(value));
            }
            fields.push((key("headers"), Value::Map(CelMap { map: Arc::new(values) })));
        }
        Ok(map(fields))
    }
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn map(entries: impl IntoIterator<Item = (Key, Value)>) -> Value {
    Value::Map(CelMap {
        map: Arc::new(entries.into_iter().collect()),
    })
}

fn of_claims(claims: Claims<'_>, wanted: &Fields) -> Value {
    map(claims.names().filter(|name| wanted.has(name)).filter_map(|name| {
        let value = match claims.get(name)? {
            Claim::Text(text) => Value::from(text),
            Claim::Json(value) => value_of(&value),
        };
        Some((key(name), value))
    }))
}

/// A JSON value as CEL sees it: whole numbers are `int` where they fit, else `uint`, else `double`.
fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            if let Some(value) = number.as_i64() {
                Value::Int(value)
            } else if let Some(value) = number.as_u64() {
                Value::UInt(value)
            } else {
                number.as_f64().map_or(Value::Null, Value::Float)
            }
        }
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value_of).collect())),
        Json::Object(members) => map(members.iter().map(|(name, value)| (key(name), value_of(value)))),
    }
}

#[cfg(test)]
mod tests;
