//! The schema of a user's profile: which attributes there are, and what each may hold.
//!
//! The **base** attributes are those of every directory of Okta's (SCIM's core, RFC 7643 section 4.1, under its
//! names); an administrator adds **custom** ones. A profile holds attributes of the schema alone: what is in a
//! profile ends up in tokens, so nothing gets there that nobody has declared.
//!
//! A keyword of JSON Schema that would narrow a value and that is not honoured here (`pattern`, `unique`) is
//! refused when the attribute is declared, never ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most custom attributes.
pub const CUSTOM_ATTRIBUTES_MAX: usize = 200;

/// The longest text of an attribute that says nothing else, in characters.
const TEXT_CHARS_MAX: usize = 1024;

/// The most elements of a list.
const ELEMENTS_MAX: usize = 200;

/// The base attributes, each with its title and the most characters that it may have. All of them are texts.
pub const BASE: [(&str, &str, usize); 30] = [
    ("login", "Username", 100),
    ("email", "Primary email", 100),
    ("firstName", "First name", 50),
    ("lastName", "Last name", 50),
    ("middleName", "Middle name", 50),
    ("honorificPrefix", "Honorific prefix", 50),
    ("honorificSuffix", "Honorific suffix", 50),
    ("secondEmail", "Secondary email", 100),
    ("title", "Title", 100),
    ("displayName", "Display name", 100),
    ("nickName", "Nickname", 100),
    ("profileUrl", "Profile URL", 1024),
    ("primaryPhone", "Primary phone", 100),
    ("mobilePhone", "Mobile phone", 100),
    ("streetAddress", "Street address", 1024),
    ("city", "City", 128),
    ("state", "State", 128),
    ("zipCode", "Zip code", 50),
    ("countryCode", "Country code", 2),
    ("postalAddress", "Postal address", 4096),
    ("preferredLanguage", "Preferred language", 50),
    ("locale", "Locale", 50),
    ("timezone", "Time zone", 50),
    ("userType", "User type", 100),
    ("employeeNumber", "Employee number", 100),
    ("costCenter", "Cost center", 100),
    ("organization", "Organization", 100),
    ("division", "Division", 100),
    ("department", "Department", 100),
    ("manager", "Manager", 100),
];

/// The base attributes that every profile has.
pub const REQUIRED: [&str; 2] = ["login", "email"];

/// What an administrator has added to the base.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSchema {
    /// The custom attributes, by name.
    #[serde(default)]
    pub custom: BTreeMap<String, Attribute>,
}

/// A custom attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attribute {
    /// What people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
    /// What the elements of a list are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// Whether each profile has it.
    #[serde(default)]
    pub required: bool,
    /// The fewest characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// The most characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// The only values that it may have.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// A text.
    String,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list.
    Array,
}

/// What the elements of a list are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// What each holds; not a list again.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
}

impl UserSchema {
    /// Adds, replaces or (`null`) removes custom attributes, as a request says. Members that only describe are
    /// dropped.
    ///
    /// # Errors
    /// Each mistake.
    pub fn change(&mut self, properties: &Map<String, Value>) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        for (name, wanted) in properties {
            if wanted.is_null() {
                self.custom.remove(name);
                continue;
            }
            match attribute(name, wanted) {
                Ok(attribute) => {
                    self.custom.insert(name.clone(), attribute);
                }
                Err(mistake) => mistakes.push(format!("{name}: {mistake}")),
            }
        }
        if self.custom.len() > CUSTOM_ATTRIBUTES_MAX {
            mistakes.push(format!(
                "there can be at most {CUSTOM_ATTRIBUTES_MAX} custom attributes"
            ));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Whether a profile is one of this schema; `null` members must be gone already.
    ///
    /// # Errors
    /// Each mistake, told apart by its attribute; a value is never repeated.
    pub fn check(&self, profile: &Map<String, Value>) -> Result<(), Vec<String>> {
        let mut mistakes = Vec::new();
        for (name, value) in profile {
            let verdict = match (BASE.iter().find(|(base, ..)| base == name), self.custom.get(name)) {
                (Some((.., chars_max)), _) => base(name, value, *chars_max),
                (None, Some(attribute)) => attribute.check(value),
                (None, None) => Err("the schema has no such attribute".to_owned()),
            };
            if let Err(mistake) = verdict {
                mistakes.push(format!("{name}: {mistake}"));
            }
        }
        let custom = self.custom.iter().filter(|(_, attribute)| attribute.required);
        let required = REQUIRED.into_iter().chain(custom.map(|(name, _)| name.as_str()));
        for name in required.filter(|name| !profile.contains_key(*name)) {
            mistakes.push(format!("{name}: the field cannot be left blank"));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}

/// Reads the declaration of a custom attribute.
fn attribute(name: &str, wanted: &Value) -> Result<Attribute, String> {
    let grammar = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !starts_well || name.len() > 50 || !name.bytes().all(grammar) {
        return Err("a name has at most 50 letters, digits and `_`, and begins with a letter".to_owned());
    }
    if BASE.iter().any(|(base, ..)| base.eq_ignore_ascii_case(name)) {
        return Err("this is a base attribute".to_owned());
    }
    let mut members = wanted.as_object().cloned().ok_or("an object is expected")?;
    // What Okta's schemas say besides: who may see and who is the source. It restricts no value.
    for described in [
        "permissions",
        "master",
        "mutability",
        "scope",
        "externalName",
        "externalNamespace",
        "default",
    ] {
        members.remove(described);
    }
    if members.get("unique").is_some_and(|unique| unique == false) {
        members.remove("unique");
    }
    members.retain(|_, value| !value.is_null());
    let attribute: Attribute = serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())?;
    let is_list = attribute.kind == AttributeKind::Array;
    match &attribute.items {
        None if is_list => return Err("`items` says what the elements of an array are".to_owned()),
        Some(_) if !is_list => return Err("`items` is for arrays".to_owned()),
        Some(items) if items.kind == AttributeKind::Array => return Err("an array of arrays is not kept".to_owned()),
        _ => {}
    }
    let is_text = attribute.kind == AttributeKind::String;
    if !is_text && (attribute.min_length.is_some() || attribute.max_length.is_some()) {
        return Err("`minLength` and `maxLength` are for strings".to_owned());
    }
    if attribute.min_length.unwrap_or(0) > attribute.max_length.unwrap_or(TEXT_CHARS_MAX) {
        return Err("`minLength` is larger than `maxLength`".to_owned());
    }
    if attribute.max_length.unwrap_or(0) > TEXT_CHARS_MAX {
        return Err(format!("`maxLength` is at most {TEXT_CHARS_MAX}"));
    }
    if let Some(wrong) = attribute
        .values
        .iter()
        .find(|value| !attribute.element_kind().holds(value))
    {
        return Err(format!("the value {wrong} of `enum` is of another type"));
    }
    Ok(attribute)
}

impl Attribute {
    /// What a value is, or each element of a list.
    fn element_kind(&self) -> AttributeKind {
        self.items.as_ref().map_or(self.kind, |items| items.kind)
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        if self.kind != AttributeKind::Array {
            return self.check_one(value);
        }
        let elements = value.as_array().ok_or("an array is expected")?;
        if elements.len() > ELEMENTS_MAX {
            return Err(format!("an array has at most {ELEMENTS_MAX} elements"));
        }
        elements.iter().try_for_each(|element| self.check_one(element))
    }

    fn check_one(&self, value: &Value) -> Result<(), String> {
        let kind = self.element_kind();
        if !kind.holds(value) {
            return Err(format!("a value of type `{}` is expected", kind.as_str()));
        }
        if !self.values.is_empty() && !self.values.contains(value) {
            return Err("this is none of the values that the attribute may have".to_owned());
        }
        let Some(text) = value.as_str() else { return Ok(()) };
        let (fewest, most) = (self.min_length.unwrap_or(0), self.max_length.unwrap_or(TEXT_CHARS_MAX));
        let count = text.chars().count();
        if count < fewest || count > most {
            return Err(format!("a text of {fewest} to {most} characters is expected"));
        }
        Ok(())
    }
}

impl AttributeKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
        }
    }
}

fn base(name: &str, value: &Value, chars_max: usize) -> Result<(), String> {
    let text = value.as_str().ok_or("a text is expected")?;
    if text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(format!(
            "a text of at most {chars_max} printable characters is expected"
        ));
    }
    match name {
        "login" if text.trim() != text || text.is_empty() => {
            Err("a login is not empty and has no space around it".to_owned())
        }
        "email" | "secondEmail" if !is_address(text) => Err("an e-mail address is expected".to_owned()),
        "countryCode" if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Err("two capital letters are expected (ISO 3166-1)".to_owned())
        }
        _ => Ok(()),
    }
}

/// One mailbox: `a@good.example,evil@x` is two, and none (attack F49).
fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| !c.is_whitespace() && !",;:<>()[]\\\"@".contains(c))
    };
    text.split_once('@')
        .is_some_and(|(mailbox, domain)| plain(mailbox) && plain(domain) && !domain.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("`{other}` is no object"),
        }
    }

    fn alice() -> Map<String, Value> {
        object(json!({"login": "alice@bank.example", "email": "alice@bank.example", "firstName": "Alice"}))
    }

    #[test]
    fn a_profile_holds_attributes_of_the_schema_alone() {
        let mut schema = UserSchema::default();
        assert_eq!(schema.check(&alice()), Ok(()));
        let mut profile = alice();
        profile.insert("branch".to_owned(), json!(7));
        assert_eq!(
            schema.check(&profile),
            Err(vec!["branch: the schema has no such attribute".to_owned()])
        );
        let added = object(
            json!({"branch": {"title": "Branch", "type": "integer", "required": true,
            "permissions": [{"principal": "SELF", "action": "READ_ONLY"}], "master": null}}),
        );
        assert_eq!(schema.change(&added), Ok(()));
        assert_eq!(schema.check(&profile), Ok(()));
        assert_eq!(
            schema.check(&alice()),
            Err(vec!["branch: the field cannot be left blank".to_owned()])
        );
        profile.insert("branch".to_owned(), json!("seven"));
        assert!(schema.check(&profile).is_err());
        assert_eq!(schema.change(&object(json!({"branch": null}))), Ok(()));
        assert_eq!(schema, UserSchema::default());
    }

    #[test]
    fn each_value_is_of_the_type_and_within_the_bounds_of_its_attribute() {
        let mut schema = UserSchema::default();
        let declared = object(json!({
            "tier": {"type": "string", "enum": ["gold", "silver"]},
            "pin": {"type": "string", "minLength": 2, "maxLength": 4},
            "vip": {"type": "boolean"},
            "scores": {"type": "array", "items": {"type": "number"}},
        }));
        schema.change(&declared).expect("declared");
        for (name, value, fits) in [
            ("tier", json!("gold"), true),
            ("tier", json!("lead"), false),
            ("tier", json!(["gold"]), false),
            ("pin", json!("12"), true),
            ("pin", json!("1"), false),
            ("pin", json!("12345"), false),
            ("pin", json!("äöüß"), true),
            ("vip", json!(false), true),
            ("vip", json!("false"), false),
            ("scores", json!([1, 2.5]), true),
            ("scores", json!([1, "2"]), false),
            ("scores", json!(1), false),
            ("scores", json!(vec![1; 201]), false),
            ("firstName", json!(1), false),
            ("countryCode", json!("DE"), true),
            ("countryCode", json!("de"), false),
            ("login", json!(" alice"), false),
            ("city", json!("a\nb"), false),
        ] {
            let mut profile = alice();
            profile.insert(name.to_owned(), value.clone());
            assert_eq!(schema.check(&profile).is_ok(), fits, "{name}: {value}");
        }
    }

    #[test]
    fn attack_f49_an_email_is_one_address() {
        for (text, fits) in [
            ("alice@bank.example", true),
            ("a@good.example,evil@x", false),
            ("a@good.example evil@x", false),
            ("a@b@c", false),
            ("<a@b>", false),
            ("a", false),
            ("@b", false),
            ("a@", false),
        ] {
            let mut profile = alice();
            profile.insert("email".to_owned(), json!(text));
            assert_eq!(UserSchema::default().check(&profile).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn an_attribute_that_says_what_is_not_honoured_is_refused() {
        for declared in [
            json!({"x": {"type": "string", "pattern": "^a"}}),
            json!({"x": {"type": "string", "unique": true}}),
            json!({"x": {"type": "string", "format": "email"}}),
            json!({"x": {"type": "object"}}),
            json!({"x": {"type": "array"}}),
            json!({"x": {"type": "array", "items": {"type": "array"}}}),
            json!({"x": {"type": "string", "items": {"type": "string"}}}),
            json!({"x": {"type": "integer", "enum": [1, "2"]}}),
            json!({"x": {"type": "integer", "minLength": 1}}),
            json!({"x": {"type": "string", "minLength": 5, "maxLength": 4}}),
            json!({"x": "string"}),
            json!({"email": {"type": "string"}}),
            json!({"Login": {"type": "string"}}),
            json!({"1x": {"type": "string"}}),
            json!({"a-b": {"type": "string"}}),
            json!({"": {"type": "string"}}),
        ] {
            let mut schema = UserSchema::default();
            assert!(schema.change(&object(declared.clone())).is_err(), "{declared}");
        }
    }
}
