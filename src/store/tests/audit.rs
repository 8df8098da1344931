//! The audit log: the chain, and the denials beside it.

use crate::audit::AuditKind;
use crate::store::tests::{Tested, event, stores};

#[tokio::test]
async fn an_error_id_leads_to_its_audit_record() {
    for Tested { name, store, .. } in &stores().await {
        let denied = event(AuditKind::AccessDenied, Some("e-1"));
        let other = event(AuditKind::AccessDenied, Some("e-2"));
        store.append_audit(&[denied.clone(), other]).await.expect("writes");
        assert_eq!(store.audit_of_error("e-1").await.expect("reads"), [denied], "{name}");
        assert_eq!(
            store.audit_of_error("e-1' OR '1'='1").await.expect("reads"),
            [],
            "{name}"
        );
    }
}
