//! Routes: templates, verbs, gRPC services.

use std::sync::Arc;

use crate::model::event::RouteIndex;
use crate::model::id::RouteName;
use crate::model::location::Located;
use crate::policy::compiled::{Api, Rule};
use crate::policy::decision::{RouteRef, Written};
use crate::policy::declared::{
    ApiDeclaration, MethodOverride, RequirementDeclaration, RouteDeclaration, RouteTarget, ServerDeclaration,
    VerbDeclaration,
};
use crate::policy::route::ANY;
use crate::policy::template::{Segment, Template};

use super::Compiler;

/// The names of a declared route's wildcards, as far as they can be read.
pub(super) fn wildcard_names(route: &RouteDeclaration) -> Vec<&str> {
    match &route.target {
        RouteTarget::Path(path) => path
            .value
            .split('/')
            .filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| name.strip_suffix("...").unwrap_or(name))
            .collect(),
        RouteTarget::Grpc(_) => Vec::new(),
    }
}

impl<'d> Compiler<'d> {
    pub(super) fn route(
        &mut self,
        index: usize,
        api: &'d ApiDeclaration,
        compiled: &Api,
        servers: &[&'d ServerDeclaration],
        route: &'d RouteDeclaration,
    ) {
        if route.verbs.is_empty() {
            self.error_with_hint(
                "no_verbs",
                route.location,
                "the route names no verb, so it lets nothing through",
                Some("write for example `GET: \"orders:read\"`"),
            );
        }
        let wildcards = wildcard_names(route);
        for verb in &route.verbs {
            let requirement = self.requirement(&verb.requirement, servers, &wildcards);
            let Some((method, template)) = self.target(route, verb) else {
                continue;
            };
            let path = template.as_ref().map_or_else(|| "*".to_owned(), Template::to_string);
            let Ok(name) = RouteName::parse(&format!("{method} {path}")) else {
                self.error("bad_path", route.location, "the path is too long to name a route");
                continue;
            };
            let Ok(number) = u32::try_from(self.rules.len()) else {
                continue;
            };
            let reads_path = compiled.forward.reads_path()
                || matches!(
                    &requirement,
                    crate::policy::compiled::Requirement::Token(token)
                        if token.when.as_ref().is_some_and(crate::policy::predicate::Expression::reads_path)
                );
            self.rules.push(Rule {
                route: Arc::new(RouteRef {
                    index: RouteIndex(number),
                    api: api.name.value.clone(),
                    name,
                    allowed: Written::default(),
                }),
                api: index,
                verb: method,
                template,
                requirement,
                method_override: route.method_override,
                forward_authorization: route.forward_authorization,
                location: verb.verb.location,
                reads_path,
            });
        }
        let public = route
            .verbs
            .iter()
            .any(|verb| matches!(verb.requirement, RequirementDeclaration::Public));
        if route.forward_authorization && !public {
            self.findings.push(crate::model::finding::Finding::warning(
                "unused_option",
                route.location,
                "`forward_authorization` has no effect on a route that is not public",
            ));
        }
        if route.method_override == MethodOverride::Both && matches!(route.target, RouteTarget::Grpc(_)) {
            self.findings.push(crate::model::finding::Finding::warning(
                "unused_option",
                route.location,
                "`method_override` has no effect on a grpc service",
            ));
        }
    }

    /// The method and template of one verb; `None` for the template stands for `*`.
    fn target(&mut self, route: &'d RouteDeclaration, verb: &'d VerbDeclaration) -> Option<(String, Option<Template>)> {
        match &route.target {
            RouteTarget::Path(path) if path.value == "*" => {
                if verb.verb.value != "OPTIONS" {
                    self.error(
                        "bad_verb",
                        verb.verb.location,
                        "the path `*` has the verb `OPTIONS` only (RFC 9110 section 9.3.7)",
                    );
                    return None;
                }
                Some(("OPTIONS".to_owned(), None))
            }
            RouteTarget::Path(path) => {
                let template = self.template(path);
                let method = self.verb(&verb.verb);
                Some((method?, Some(template?)))
            }
            RouteTarget::Grpc(service) => self
                .grpc(service, &verb.verb)
                .map(|template| ("POST".to_owned(), Some(template))),
        }
    }

    fn template(&mut self, path: &Located<String>) -> Option<Template> {
        match Template::parse(&path.value) {
            Ok(template) => Some(template),
            Err(error) => {
                self.error_with_hint("bad_path", path.location, error.message, error.hint);
                None
            }
        }
    }

    fn verb(&mut self, verb: &Located<String>) -> Option<String> {
        let text = verb.value.as_str();
        if text == "*" {
            return Some(text.to_owned());
        }
        let token = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
        if !text.is_empty() && text.len() <= 32 && text.bytes().all(token) {
            return Some(text.to_owned());
        }
        let upper = text.to_ascii_uppercase();
        let hint = ANY
            .contains(&upper.as_str())
            .then(|| format!("verbs are case-sensitive: write `{upper}`"));
        self.error_with_hint("bad_verb", verb.location, format!("`{text}` is no verb"), hint);
        None
    }

    /// `/service/method`, or `/service/{method}` for `*`.
    fn grpc(&mut self, service: &Located<String>, method: &Located<String>) -> Option<Template> {
        let identifier = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let mut good = true;
        if !service.value.split('.').all(identifier) {
            self.error_with_hint(
                "bad_grpc_service",
                service.location,
                format!("`{}` is no gRPC service", service.value),
                Some("write the full name, such as `bank.transactions.v1.Transactions`"),
            );
            good = false;
        }
        if method.value != "*" && !identifier(&method.value) {
            self.error(
                "bad_grpc_method",
                method.location,
                format!("`{}` is no gRPC method", method.value),
            );
            good = false;
        }
        good.then(|| {
            let method = match method.value.as_str() {
                "*" => Segment::Capture("method".to_owned()),
                name => Segment::Literal(name.to_owned()),
            };
            Template::of(vec![Segment::Literal(service.value.clone()), method])
        })
    }
}
