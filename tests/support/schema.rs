//! A validator for JSON Schema (draft 2020-12), of the keywords that the project's schemas use: any other is a failure, so
//! that none is written that nobody checks.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test's support fails the test")]

use serde_json::Value;

/// What of a value is not as the schema has it: each with the place.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "$", &mut found);
    found
}

fn is_valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    check(root, schema, value, "$", &mut found);
    found.is_empty()
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let keywords = schema.as_object().unwrap_or_else(|| panic!("{at}: not a schema: {schema}"));
    let count = |limit: &Value| limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).expect("a number");
    for (keyword, wanted) in keywords {
        match (keyword.as_str(), value) {
            ("$schema" | "$defs" | "title" | "description" | "then" | "else", _) => {}
            ("$ref", _) => {
                let pointer = wanted.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                let target = root.pointer(pointer).unwrap_or_else(|| panic!("{at}: {wanted} leads nowhere"));
                check(root, target, value, at, found);
            }
            ("type", _) => {
                if wanted != type_of(value) {
                    found.push(format!("{at}: {value} is not of the type {wanted}"));
                }
            }
            ("const", _) => {
                if value != wanted {
                    found.push(format!("{at}: {value} is not {wanted}"));
                }
            }
            ("enum", _) => {
                if !wanted.as_array().expect("a list").contains(value) {
                    found.push(format!("{at}: {value} is none of {wanted}"));
                }
            }
            ("oneOf", _) => {
                let fits = wanted.as_array().expect("a list").iter().filter(|one| is_valid(root, one, value)).count();
                if fits != 1 {
                    found.push(format!("{at}: {value} fits {fits} of {}", wanted.as_array().expect("a list").len()));
                }
            }
            ("if", _) => {
                let branch = if is_valid(root, wanted, value) { "then" } else { "else" };
                check(root, &schema[branch], value, at, found);
            }
            ("required", Value::Object(members)) => {
                for name in wanted.as_array().expect("a list") {
                    if !members.contains_key(name.as_str().expect("a name")) {
                        found.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            ("additionalProperties", Value::Object(members)) => {
                assert_eq!(wanted, false, "{at}: only false is understood");
                let known = &schema["properties"];
                for name in members.keys().filter(|name| known.get(name.as_str()).is_none()) {
                    found.push(format!("{at}: {name:?} is not known"));
                }
            }
            ("properties", Value::Object(members)) => {
                for (name, schema) in wanted.as_object().expect("an object") {
                    if let Some(member) = members.get(name) {
                        check(root, schema, member, &format!("{at}.{name}"), found);
                    }
                }
            }
            ("items", Value::Array(list)) => {
                for (index, item) in list.iter().enumerate() {
                    check(root, wanted, item, &format!("{at}[{index}]"), found);
                }
            }
            ("maxItems", Value::Array(list)) => {
                if list.len() > count(wanted) {
                    found.push(format!("{at}: {} items", list.len()));
                }
            }
            ("maxLength", Value::String(text)) => {
                if text.chars().count() > count(wanted) {
                    found.push(format!("{at}: {} characters", text.chars().count()));
                }
            }
            ("pattern", Value::String(text)) => {
                assert_eq!(wanted, "^sha256:[0-9a-f]{64}$", "{at}: only this pattern is understood");
                let hex = text.strip_prefix("sha256:").unwrap_or_default();
                if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    found.push(format!("{at}: {text:?} is no digest"));
                }
            }
            // These say nothing of values of another type.
            (
                "required" | "additionalProperties" | "properties" | "items" | "maxItems" | "maxLength" | "pattern",
                _,
            ) => {}
            (other, _) => panic!("{at}: the keyword {other} is not understood here"),
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
