use super::*;

#[test]
fn attack_d30_a_service_is_found_by_its_whole_name() {
    let services = GeneratedServices::health(HealthReporter::new());
    for (path, found) in [
        ("/grpc.health.v1.Health/Check", true),
        ("/grpc.health.v1.Health", false),
        ("/grpc.health.v1.HealthCheck/Check", false),
        ("/grpc.health.v1.health/Check", false),
        ("//grpc.health.v1.Health/Check", false),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false),
        ("/envoy.service.auth.v2.Authorization/Check", false),
        ("grpc.health.v1.Health/Check", false),
        ("/", false),
        ("*", false),
    ] {
        assert_eq!(services.of(path).is_some(), found, "{path}");
    }
}
