use serde_json::json;

use super::*;

#[test]
fn every_mapping_of_known_keys_refuses_others() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let mut closed = 0;
    for (name, definition) in definitions.iter().chain([(&"File".to_owned(), &schema)]) {
        if definition.get("properties").is_some() {
            assert_eq!(definition["additionalProperties"], json!(false), "{name}");
            closed += 1;
        }
    }
    assert!(closed >= 25, "{closed} mappings");
}

#[test]
fn every_key_has_a_description() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    for (name, definition) in definitions.iter().chain([(&"File".to_owned(), &schema)]) {
        for (key, property) in definition["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{name}.{key}");
        }
    }
}

#[test]
fn no_definition_is_missing_or_unused() {
    let schema = schema();
    let text = schema.to_string();
    for name in schema["$defs"].as_object().expect("definitions").keys() {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name} is unused");
    }
    for part in text.split("\"#/$defs/").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(schema["$defs"].get(name).is_some(), "{name} is missing");
    }
}

#[test]
fn a_route_is_closed_around_its_verbs() {
    let route = &schema()["$defs"]["Route"]["anyOf"][0];
    assert_eq!(route["required"], json!(["path"]));
    assert_eq!(route["additionalProperties"], json!(false));
    assert!(
        route["patternProperties"]
            .as_object()
            .is_some_and(|verbs| verbs.len() == 1)
    );
}
