//! What a route needs: scopes, clients and conditions, each name checked.

use std::collections::BTreeSet;

use crate::model::finding::nearest;
use crate::model::location::Located;
use crate::model::scope::Scope;
use crate::policy::compiled::{Requirement, TokenRequirement};
use crate::policy::declared::{Origin, RequirementDeclaration, ServerDeclaration, TokenRequirementDeclaration};

use super::Compiler;

impl<'d> Compiler<'d> {
    pub(super) fn requirement(
        &mut self,
        requirement: &'d RequirementDeclaration,
        servers: &[&'d ServerDeclaration],
        wildcards: &[&str],
    ) -> Requirement {
        match requirement {
            RequirementDeclaration::Public => Requirement::Public,
            RequirementDeclaration::Deny => Requirement::Deny,
            RequirementDeclaration::Authenticated => Requirement::Token(Box::default()),
            RequirementDeclaration::Token(token) => {
                Requirement::Token(Box::new(self.token_requirement(token, servers, wildcards)))
            }
        }
    }

    fn token_requirement(
        &mut self,
        declared: &'d TokenRequirementDeclaration,
        servers: &[&'d ServerDeclaration],
        wildcards: &[&str],
    ) -> TokenRequirement {
        TokenRequirement {
            all: self.scopes(&declared.all, servers).into_iter().collect(),
            any: self.scopes(&declared.any, servers),
            clients: declared.clients.as_ref().map(|clients| self.clients(clients, servers)),
            acr: declared.acr.iter().map(|class| class.value.clone()).collect(),
            max_age: declared.max_age,
            when: declared.when.as_ref().and_then(|when| self.expression(when, wildcards)),
            bound: declared.bound,
        }
    }

    fn scopes(&mut self, scopes: &'d [Located<String>], servers: &[&'d ServerDeclaration]) -> Vec<Scope> {
        scopes.iter().filter_map(|scope| self.scope(scope, servers)).collect()
    }

    /// A scope that one of the API's authorization servers defines.
    fn scope(&mut self, scope: &'d Located<String>, servers: &[&'d ServerDeclaration]) -> Option<Scope> {
        let text = scope.value.as_str();
        let parsed = match Scope::parse(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.error(
                    "unknown_scope",
                    scope.location,
                    format!("`{text}` is no scope: {error}"),
                );
                return None;
            }
        };
        // An unknown server is reported as such: its scopes cannot be judged. Those of a managed one come and go.
        let may_define =
            |server: &&ServerDeclaration| server.origin == Origin::Management || server.scopes.contains(&parsed);
        if servers.is_empty() || servers.iter().any(may_define) {
            return Some(parsed);
        }
        let known: BTreeSet<&str> = servers
            .iter()
            .flat_map(|server| &server.scopes)
            .map(Scope::as_str)
            .collect();
        let elsewhere = self
            .declaration
            .servers
            .iter()
            .find(|server| server.scopes.contains(&parsed))
            .map(|server| {
                format!(
                    "`{}` defines it, which is not an authorization server of this api",
                    server.id
                )
            });
        let hint = nearest(text, known.iter().copied())
            .map(|near| format!("did you mean `{near}`?"))
            .or(elsewhere)
            .or_else(|| {
                let known: Vec<&str> = known.iter().copied().take(10).collect();
                (!known.is_empty()).then(|| format!("known scopes: `{}`", known.join("`, `")))
            });
        let names: Vec<&str> = servers.iter().map(|server| server.id.as_str()).collect();
        self.error_with_hint(
            "unknown_scope",
            scope.location,
            format!("`{text}` is no scope of `{}`", names.join("` or `")),
            hint,
        );
        None
    }
}
