//! The world that the benchmarks ask about: one scope rule, two identity headers, keys in a file.

/// The configuration; `PORT` stands for where checks are answered.
pub(crate) const CONFIGURATION: &str = r#"
listeners:
  ext_authz: { address: "127.0.0.1:PORT" }
  telemetry: { address: "127.0.0.1:0" }
authorization_servers:
  - id: transfers
    issuer: https://issuer.example
    jwks_file: keys.json
    audience: api://transfers
    algorithms: [ES256]
    scopes: ["transfers:read", "transfers:write"]
apis:
  - name: transfers
    hosts: [api.bank.example]
    authorization_server: transfers
    clients: [mobile]
    forward:
      headers: { x-auth-subject: token.sub, x-auth-client: token.client_id }
    routes:
      - path: /transfers/{id}
        GET: "transfers:read"
        POST: "transfers:write"
"#;
