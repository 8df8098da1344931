//! Reads the text of a CEL expression and finds out what it looks at, or what is wrong with it.
//!
//! The CEL crate has no budget of its own, so size, loops and patterns are bounded here, at load. See
//! `predicate` for what an expression means.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::{Context, Env, IdedExpr, Program};

use crate::model::nesting::Nesting;

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 2 * 1024;
/// The most loops (`all`, `exists`, `exists_one`, `map`, `filter`) in one expression.
pub const LOOPS_MAX: usize = 4;
/// How many loops may stand inside each other.
pub const LOOP_NESTING_MAX: usize = 2;
/// How many brackets may stand inside each other. The parser takes a quarter of a megabyte of stack
/// for each in a debug build, and a thread of a runtime has two: without this bound, `((((…` ends the
/// process.
pub const NESTING_MAX: usize = 8;
/// How many conditionals (`? :`) there may be, for the same reason.
const CONDITIONALS_MAX: usize = 16;
/// How deep the tree of operators may be: evaluation recurses as well.
const DEPTH_MAX: usize = 24;

/// The longest pattern of `matches`, in bytes.
const PATTERN_BYTES_MAX: usize = 256;
/// How often the counted repetitions of a pattern may repeat, all multiplied.
const REPETITIONS_MAX: u64 = 1000;

/// Why a text is no expression that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExpression {
    /// A stable word for the kind of mistake.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The column inside the text, in characters, from 1.
    pub column: u32,
}

/// The members of one variable that an expression looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum Fields {
    /// None: the variable does not occur.
    None,
    /// These.
    Named(BTreeSet<String>),
    /// All: it is used whole, or by a computed name.
    All,
}

impl Fields {
    /// Whether this member is looked at.
    pub(in crate::policy) fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }

    fn add(&mut self, name: &str) {
        match self {
            Self::None => *self = Self::Named(BTreeSet::from([name.to_owned()])),
            Self::Named(names) => {
                names.insert(name.to_owned());
            }
            Self::All => {}
        }
    }
}

/// What an expression looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Reads {
    pub(in crate::policy) token: Fields,
    pub(in crate::policy) path: Fields,
    pub(in crate::policy) request: bool,
    pub(in crate::policy) headers: Fields,
}

/// What `request` has.
const REQUEST_FIELDS: [&str; 5] = ["method", "host", "path", "scheme", "headers"];

/// Functions of CEL's standard library beside the operators.
const FUNCTIONS: [&str; 38] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "dyn",
    "duration",
    "timestamp",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "optional",
    "of",
    "none",
    "ofNonZeroValue",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optMap",
    "optFlatMap",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
];

/// Names of types, which expressions may compare with: `type(token.x) == string`.
const TYPES: [&str; 12] = [
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "list",
    "map",
    "null_type",
    "type",
    "duration",
    "timestamp",
];

pub(in crate::policy) fn read(env: &Env, text: &str, wildcards: &[&str]) -> Result<(Program, Reads), BadExpression> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(bad(
            "expression_too_long",
            format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes"),
        ));
    }
    let nesting = Nesting::of(text);
    if nesting.brackets > NESTING_MAX || nesting.conditionals > CONDITIONALS_MAX {
        return Err(bad(
            "expression_too_costly",
            format!(
                "the expression has more than {NESTING_MAX} brackets inside each other, or more than {CONDITIONALS_MAX} conditionals"
            ),
        ));
    }
    let program = env.compile(text).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |error| error.pos);
        let reason = first.map_or("it is empty", |error| error.msg.lines().next().unwrap_or_default());
        BadExpression {
            code: "bad_expression",
            message: format!("the expression `{text}` does not parse: {reason}"),
            hint: None,
            column: column_in(text, line, column),
        }
    })?;
    let mut reader = Reader {
        env,
        text,
        program: &program,
        wildcards,
        reads: Reads {
            token: Fields::None,
            path: Fields::None,
            request: false,
            headers: Fields::None,
        },
        bound: Vec::new(),
        loops: 0,
        nesting: 0,
        depth: 0,
    };
    reader.walk(program.expression())?;
    let reads = reader.reads;
    Ok((program, reads))
}

/// The column in the whole text of a place given as line and column.
fn column_in(text: &str, line: isize, column: isize) -> u32 {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let before: usize = text
        .split('\n')
        .take(line - 1)
        .map(|line| line.chars().count() + 1)
        .sum();
    let column = before + usize::try_from(column).unwrap_or(1).max(1);
    u32::try_from(column).unwrap_or(1)
}

fn bad(code: &'static str, message: impl Into<String>) -> BadExpression {
    BadExpression {
        code,
        message: message.into(),
        hint: None,
        column: 1,
    }
}

struct Reader<'a> {
    env: &'a Env,
    text: &'a str,
    program: &'a Program,
    wildcards: &'a [&'a str],
    reads: Reads,
    /// The variables of the loops that we are in.
    bound: Vec<&'a str>,
    loops: usize,
    nesting: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn walk(&mut self, node: &'a IdedExpr) -> Result<(), BadExpression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.at(
                node,
                bad(
                    "expression_too_costly",
                    format!("there are more than {DEPTH_MAX} operators inside each other"),
                ),
            ));
        }
        self.read_node(node)?;
        self.depth -= 1;
        Ok(())
    }

    fn read_node(&mut self, node: &'a IdedExpr) -> Result<(), BadExpression> {
        if let Some((variable, field)) = self.member(node) {
            return self.read_member(node, variable, field);
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.read_variable(node, name),
            Expr::Select(select) => {
                if let Some(("request", "headers")) = self.member(&select.operand) {
                    self.reads.request = true;
                    self.reads.headers.add(&select.field.to_ascii_lowercase());
                    return Ok(());
                }
                self.walk(&select.operand)
            }
            Expr::Call(call) => self.read_call(node, call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.walk(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.read_entry(&entry.expr)),
            Expr::Struct(structure) => Err(self.at(
                node,
                bad("unknown_type", format!("there is no type `{}`", structure.type_name)),
            )),
            Expr::Comprehension(comprehension) => {
                self.walk(&comprehension.iter_range)?;
                self.walk(&comprehension.accu_init)?;
                self.loops += 1;
                self.nesting += 1;
                if self.loops > LOOPS_MAX || self.nesting > LOOP_NESTING_MAX {
                    return Err(self.at(
                        node,
                        bad(
                            "expression_too_costly",
                            format!(
                                "the expression has more than {LOOPS_MAX} loops, or more than {LOOP_NESTING_MAX} inside each other"
                            ),
                        ),
                    ));
                }
                let depth = self.bound.len();
                self.bound.push(&comprehension.iter_var);
                self.bound.push(&comprehension.accu_var);
                if let Some(second) = &comprehension.iter_var2 {
                    self.bound.push(second);
                }
                self.walk(&comprehension.loop_cond)?;
                self.walk(&comprehension.loop_step)?;
                self.walk(&comprehension.result)?;
                self.bound.truncate(depth);
                self.nesting -= 1;
                Ok(())
            }
        }
    }

    fn read_entry(&mut self, entry: &'a EntryExpr) -> Result<(), BadExpression> {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key)?;
                self.walk(&entry.value)
            }
        }
    }

    fn read_call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Result<(), BadExpression> {
        // `request.headers["x"]`, and `"x" in request.headers`.
        if let [first, second] = call.args.as_slice() {
            let by_name = match call.func_name.as_str() {
                operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => Some((first, second)),
                operators::IN => Some((second, first)),
                _ => None,
            };
            if let Some((whole, name)) = by_name
                && self.member(whole) == Some(("request", "headers"))
                && let Some(name) = literal(name)
            {
                if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(self.at(
                        node,
                        bad(
                            "unknown_header",
                            format!("the names of headers are lower case: `{name}`"),
                        ),
                    ));
                }
                self.reads.request = true;
                self.reads.headers.add(name);
                return Ok(());
            }
            // `"x" in token` and `"x" in path` look at one member.
            if call.func_name == operators::IN
                && let Expr::Ident(variable) = &second.expr
                && let Some(name) = literal(first)
                && !self.bound.contains(&variable.as_str())
                && variable == "token"
            {
                self.reads.token.add(name);
                return Ok(());
            }
        }
        let name = call.func_name.as_str();
        let operator = name.contains('_') || name.starts_with('@');
        if !operator && !FUNCTIONS.contains(&name) {
            let hint = crate::model::finding::nearest(name, FUNCTIONS).map(|near| format!("did you mean `{near}`?"));
            return Err(self.at(
                node,
                BadExpression {
                    hint,
                    ..bad("unknown_function", format!("there is no function `{name}`"))
                },
            ));
        }
        if name == "matches" {
            self.read_pattern(node, call)?;
        }
        if let Some(target) = &call.target {
            // `optional.of(x)`: the namespace is no variable.
            let namespace = matches!(&target.expr, Expr::Ident(name) if name == "optional");
            if !namespace {
                self.walk(target)?;
            }
        }
        call.args.iter().try_for_each(|argument| self.walk(argument))
    }

    /// The pattern of `matches`: a literal that compiles and stays small, so that neither a client nor
    /// a token chooses it, and a bomb is found at load (attack E13). It is compiled anew for each
    /// evaluation, by the CEL crate: hence the bounds.
    fn read_pattern(&self, node: &IdedExpr, call: &CallExpr) -> Result<(), BadExpression> {
        let Some(pattern) = call.args.last() else { return Ok(()) };
        let Some(text) = literal(pattern) else {
            return Err(self.at(
                node,
                bad("bad_pattern", "the pattern of `matches` is written out, not computed"),
            ));
        };
        if text.len() > PATTERN_BYTES_MAX || repetitions(text) > REPETITIONS_MAX {
            return Err(self.at(
                node,
                bad(
                    "bad_pattern",
                    format!("the pattern has more than {PATTERN_BYTES_MAX} bytes or repeats more than {REPETITIONS_MAX} times"),
                ),
            ));
        }
        // Asking CEL itself needs no second regex crate. The pattern is a variable of the probe, so
        // that nothing in it has to be quoted.
        let mut context = Context::default();
        context.add_variable_from_value("pattern", text);
        let probe = self.env.compile("''.matches(pattern)");
        if probe.is_ok_and(|probe| probe.execute(&context).is_ok()) {
            return Ok(());
        }
        Err(self.at(node, bad("bad_pattern", format!("`{text}` is no pattern"))))
    }

    fn read_variable(&mut self, node: &IdedExpr, name: &str) -> Result<(), BadExpression> {
        if self.bound.contains(&name) || name.starts_with('@') || TYPES.contains(&name) {
            return Ok(());
        }
        match name {
            "token" => self.reads.token = Fields::All,
            "path" => self.reads.path = Fields::All,
            "request" => {
                self.reads.request = true;
                self.reads.headers = Fields::All;
            }
            _ => {
                let hint = crate::model::finding::nearest(name, ["token", "path", "request"])
                    .map(|near| format!("did you mean `{near}`?"));
                return Err(self.at(
                    node,
                    BadExpression {
                        hint,
                        ..bad("unknown_variable", format!("there is no variable `{name}`"))
                    },
                ));
            }
        }
        Ok(())
    }

    fn read_member(&mut self, node: &IdedExpr, variable: &str, field: &str) -> Result<(), BadExpression> {
        match variable {
            "token" => self.reads.token.add(field),
            "path" => {
                if !self.wildcards.contains(&field) {
                    let hint = crate::model::finding::nearest(field, self.wildcards.iter().copied())
                        .map(|near| format!("did you mean `path.{near}`?"));
                    return Err(self.at(
                        node,
                        BadExpression {
                            hint,
                            ..bad("unknown_wildcard", format!("the path has no wildcard `{{{field}}}`"))
                        },
                    ));
                }
                self.reads.path.add(field);
            }
            _ => {
                if !REQUEST_FIELDS.contains(&field) {
                    let hint = crate::model::finding::nearest(field, REQUEST_FIELDS)
                        .map(|near| format!("did you mean `request.{near}`?"));
                    return Err(self.at(
                        node,
                        BadExpression {
                            hint,
                            ..bad("unknown_field", format!("there is no `request.{field}`"))
                        },
                    ));
                }
                self.reads.request = true;
                if field == "headers" {
                    self.reads.headers = Fields::All;
                }
            }
        }
        Ok(())
    }

    /// `token.x`, `token["x"]`, `token.?x` and the like: the variable and the member's name.
    fn member(&self, node: &'a IdedExpr) -> Option<(&'a str, &'a str)> {
        let (operand, field) = select(node)?;
        let Expr::Ident(variable) = &operand.expr else {
            return None;
        };
        let ours = matches!(variable.as_str(), "token" | "path" | "request");
        (ours && !self.bound.contains(&variable.as_str())).then_some((variable.as_str(), field))
    }

    fn at(&self, node: &IdedExpr, mut error: BadExpression) -> BadExpression {
        if let Some((start, _)) = self.program.source_info().offset_for(node.id) {
            error.column = start.saturating_add(1);
        }
        error.message = format!("{} in the expression `{}`", error.message, self.text);
        error
    }
}

/// How often the counted repetitions of a pattern (`{2,30}`) repeat, multiplied as if nested.
fn repetitions(pattern: &str) -> u64 {
    pattern
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .filter_map(|(count, _)| {
            count
                .rsplit(',')
                .find(|bound| !bound.is_empty())?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .fold(1, |product: u64, count| product.saturating_mul(count.max(1)))
}

fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// A selection by a name that is written out: what is selected from, and the name.
pub(in crate::policy) fn select(node: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &node.expr {
        Expr::Select(select) => Some((&select.operand, &select.field)),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [operand, name]) => {
                Some((operand, literal(name)?))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The names of a plain chain such as `token.address.city` or `token["https://x"]`, root first.
/// `None` for anything that is more than a chain of plain selections.
pub(in crate::policy) fn chain(node: &IdedExpr) -> Option<Vec<&str>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if select.test => None,
        Expr::Call(call) if call.func_name != operators::INDEX => None,
        _ => {
            let (operand, name) = select(node)?;
            let mut names = chain(operand)?;
            names.push(name);
            Some(names)
        }
    }
}
