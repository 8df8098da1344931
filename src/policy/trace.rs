//! How a decision came about: steps for `explain`, nothing at all on the hot path.

/// What a step was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The route.
    Route,
    /// The request's form: query, method override, nominated headers.
    Request,
    /// The token.
    Token,
    /// The client.
    Client,
    /// The scopes.
    Scopes,
    /// How and when the user signed in.
    Authentication,
    /// The key that the token is bound to.
    Binding,
    /// The `when` condition.
    Condition,
    /// What the upstream sees.
    Forward,
}

impl Stage {
    /// The stage's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Route => "route",
            Self::Request => "request",
            Self::Token => "token",
            Self::Client => "client",
            Self::Scopes => "scopes",
            Self::Authentication => "authentication",
            Self::Binding => "binding",
            Self::Condition => "condition",
            Self::Forward => "forward",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The requirement holds.
    Pass,
    /// The request fails here.
    Fail,
    /// Something was found out.
    Note,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it was about.
    pub stage: Stage,
    /// How it ended.
    pub outcome: StepOutcome,
    /// A short sentence, without credentials.
    pub text: String,
}

impl Step {
    /// A requirement that holds.
    pub fn pass(stage: Stage, text: impl Into<String>) -> Self {
        Self::new(stage, StepOutcome::Pass, text)
    }

    /// A requirement that does not hold.
    pub fn fail(stage: Stage, text: impl Into<String>) -> Self {
        Self::new(stage, StepOutcome::Fail, text)
    }

    /// Something that was found out.
    pub fn note(stage: Stage, text: impl Into<String>) -> Self {
        Self::new(stage, StepOutcome::Note, text)
    }

    fn new(stage: Stage, outcome: StepOutcome, text: impl Into<String>) -> Self {
        Self {
            stage,
            outcome,
            text: text.into(),
        }
    }
}

/// Takes note of steps. The step is a closure: on the hot path it is never built.
pub trait Tracer {
    /// Takes note of one step.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Takes note of nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untraced;

impl Tracer for Untraced {
    #[inline]
    fn step(&mut self, _step: impl FnOnce() -> Step) {}
}

/// Keeps every step.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Tracer for Trace {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }
}
