//! The few documents that `kubectl` sends as Kubernetes' protobuf, as the JSON that they stand for.

use serde_json::{Value, json};

/// What a field of a message is: its number, its name, and what is in it.
type Fields = &'static [(u64, &'static str, Field)];

#[derive(Clone, Copy)]
enum Field {
    Text,
    Texts,
    Message(Fields),
    Messages(Fields),
}

use Field::{Message, Messages, Text, Texts};

const METADATA: Fields = &[(1, "name", Text), (3, "namespace", Text)];
const RULE: Fields =
    &[(1, "verbs", Texts), (2, "apiGroups", Texts), (3, "resources", Texts), (4, "resourceNames", Texts)];
const SUBJECT: Fields = &[(1, "kind", Text), (2, "apiGroup", Text), (3, "name", Text), (4, "namespace", Text)];
const ROLE_REF: Fields = &[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)];
const ATTRIBUTES: Fields =
    &[(1, "namespace", Text), (2, "verb", Text), (3, "group", Text), (5, "resource", Text), (7, "name", Text)];
const REVIEW: Fields = &[(1, "resourceAttributes", Message(ATTRIBUTES))];
const KINDS: [(&str, Fields); 3] = [
    ("Role", &[(1, "metadata", Message(METADATA)), (2, "rules", Messages(RULE))]),
    (
        "RoleBinding",
        &[(1, "metadata", Message(METADATA)), (2, "subjects", Messages(SUBJECT)), (3, "roleRef", Message(ROLE_REF))],
    ),
    ("SelfSubjectAccessReview", &[(2, "spec", Message(REVIEW))]),
];

/// A number, and what is behind it.
fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let (mut value, mut rest) = (0, bytes);
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().expect("a number has an end");
        value |= u64::from(byte & 0x7f) << shift;
        rest = behind;
        if byte & 0x80 == 0 {
            return (value, rest);
        }
    }
    panic!("a number without an end");
}

/// The fields of a message that hold bytes; numbers are left out.
fn parts(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = number(bytes);
        let (value, rest) = number(rest);
        bytes = rest;
        match tag & 7 {
            0 => {}
            2 => {
                let length = usize::try_from(value).expect("a length");
                parts.push((tag >> 3, &rest[..length]));
                bytes = &rest[length..];
            }
            other => panic!("a field of type {other}"),
        }
    }
    parts
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn message(bytes: &[u8], fields: Fields) -> Value {
    let mut object = json!({});
    for (number, bytes) in parts(bytes) {
        let Some((_, name, field)) = fields.iter().find(|(own, ..)| *own == number) else { continue };
        let mut add = |value: Value| match object[name].as_array_mut() {
            Some(list) => list.push(value),
            None => object[name] = json!([value]),
        };
        match *field {
            Texts => add(json!(text(bytes))),
            Messages(fields) => add(message(bytes, fields)),
            // What is empty was not said.
            Text if bytes.is_empty() => {}
            Text => object[name] = json!(text(bytes)),
            Message(fields) => object[name] = message(bytes, fields),
        }
    }
    object
}

/// The document of a request; `None` where it is no protobuf.
pub fn document(bytes: &[u8]) -> Option<Value> {
    let envelope = parts(bytes.strip_prefix(b"k8s\0")?);
    let field =
        |wanted: u64| envelope.iter().find(|(number, _)| *number == wanted).map_or(&[][..], |(_, bytes)| *bytes);
    let of = message(field(1), &[(1, "apiVersion", Text), (2, "kind", Text)]);
    let kind = of["kind"].as_str().expect("a kind");
    let (_, fields) = KINDS.iter().find(|(own, _)| *own == kind).unwrap_or_else(|| panic!("{kind} is not known"));
    let mut object = message(field(2), fields);
    object["apiVersion"] = of["apiVersion"].clone();
    object["kind"] = of["kind"].clone();
    Some(object)
}

#[test]
fn a_role_is_read() {
    let field =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let rule = [field(1, b"get"), field(3, b"pods"), field(3, b"secrets")].concat();
    let role = [field(1, &field(1, b"reader")), field(2, &rule)].concat();
    let of = [field(1, b"rbac.authorization.k8s.io/v1"), field(2, b"Role")].concat();
    let sent = [b"k8s\0".to_vec(), field(1, &of), field(2, &role), field(3, b"")].concat();
    let expected = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"verbs": ["get"], "resources": ["pods", "secrets"]}]});
    assert_eq!(document(&sent), Some(expected));
    assert_eq!(document(b"{}"), None);
}
