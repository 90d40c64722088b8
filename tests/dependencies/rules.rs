//! The rules of `deny.toml` about licences, bans and sources, and what of some packages is against them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::licence;

/// A package as cargo describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub licence: String,
    /// `None` is one of our own.
    pub source: Option<String>,
}

/// What `deny.toml` says.
#[derive(Debug)]
pub struct Rules {
    allowed: BTreeSet<String>,
    exceptions: BTreeMap<String, BTreeSet<String>>,
    banned: BTreeSet<String>,
    /// Name and the beginning of a version.
    twice: BTreeSet<(String, String)>,
}

impl Rules {
    /// Reads the file. A ban and a second version need a reason.
    pub fn read(text: &str) -> Self {
        let table = DeTable::parse(text).expect("deny.toml is TOML");
        let rules = json(&DeValue::Table(table.into_inner()));
        let reasoned = |list: &Value| -> Vec<String> {
            let entries = list.as_array().expect("a list").iter();
            entries
                .map(|entry| {
                    assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "no reason: {entry}");
                    entry["crate"].as_str().expect("a name").to_owned()
                })
                .collect()
        };
        let exceptions = rules["licenses"]["exceptions"].as_array().expect("a list");
        let twice = reasoned(&rules["bans"]["skip"]).into_iter();
        Self {
            allowed: words(&rules["licenses"]["allow"]),
            exceptions: exceptions
                .iter()
                .map(|one| (one["crate"].as_str().expect("a name").to_owned(), words(&one["allow"])))
                .collect(),
            banned: reasoned(&rules["bans"]["deny"]).into_iter().collect(),
            twice: twice
                .map(|name| {
                    let (name, version) = name.split_once('@').expect("name@version");
                    (name.to_owned(), version.to_owned())
                })
                .collect(),
        }
    }

    /// What is wrong with these packages, and which rules none of them needs.
    pub fn complaints(&self, packages: &[Package]) -> Vec<String> {
        [self.licences(packages), self.bans(packages), self.versions(packages), Self::sources(packages)].concat()
    }

    fn licences(&self, packages: &[Package]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut used = BTreeSet::new();
        for Package { name, version, licence, .. } in packages {
            let allowed = |one: &str| self.allowed.contains(one);
            let excepted = |one: &str| self.exceptions.get(name).is_some_and(|licences| licences.contains(one));
            match licence::satisfied(licence, &allowed) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => complaints.push(format!("{name} {version}: the licence {licence:?}: {error}")),
            }
            if licence::satisfied(licence, &|one| allowed(one) || excepted(one)) == Ok(true) {
                used.insert(name);
            } else {
                complaints.push(format!("{name} {version}: the licence {licence:?} is not allowed"));
            }
        }
        let unused = self.exceptions.keys().filter(|name| !used.contains(name));
        complaints.extend(unused.map(|name| format!("the exception of {name} is not needed")));
        complaints
    }

    fn bans(&self, packages: &[Package]) -> Vec<String> {
        let banned = packages.iter().filter(|package| self.banned.contains(&package.name));
        banned.map(|package| format!("{} {}: banned", package.name, package.version)).collect()
    }

    fn versions(&self, packages: &[Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
        let mut used = BTreeSet::new();
        let mut complaints = Vec::new();
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            let skipped = |version: &str| {
                self.twice.iter().find(|(twice, begin)| twice == name && version.starts_with(&format!("{begin}.")))
            };
            used.extend(versions.iter().filter_map(|version| skipped(version)));
            let left: Vec<&&str> = versions.iter().filter(|version| skipped(version).is_none()).collect();
            if left.len() > 1 {
                complaints.push(format!("{name}: more than one version: {left:?}"));
            }
        }
        let unused = self.twice.iter().filter(|skip| !used.contains(skip));
        complaints
            .extend(unused.map(|(name, version)| format!("{name}@{version} is not there beside another version")));
        complaints
    }

    /// One registry, which is cargo's own unless somebody has put a mirror in its place, and nothing from anywhere else.
    fn sources(packages: &[Package]) -> Vec<String> {
        let registry =
            packages.iter().filter_map(|package| package.source.as_ref()).find(|it| it.starts_with("registry+"));
        let mut complaints = Vec::new();
        for Package { name, version, source, .. } in packages {
            let Some(source) = source else { continue };
            if Some(source) != registry {
                complaints.push(format!("{name} {version}: from {source}"));
            }
        }
        complaints
    }
}

fn words(list: &Value) -> BTreeSet<String> {
    list.as_array().expect("a list").iter().map(|word| word.as_str().expect("a string").to_owned()).collect()
}

/// The same as JSON; what is neither a table, a list, a string nor a boolean is not asked for.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => Value::Null,
    }
}

fn package(name: &str, version: &str, licence: &str) -> Package {
    let source = Some("registry+https://index.example".to_owned());
    Package { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned(), source }
}

const RULES: &str = r#"
[licenses]
allow = ["MIT"]
exceptions = [{ crate = "zlib-rs", allow = ["Zlib"] }]
[bans]
deny = [{ crate = "openssl", reason = "not here" }]
skip = [{ crate = "base64@0.22", reason = "others need it" }]
"#;

#[test]
fn what_is_against_the_rules_is_told() {
    // The packages that the rules are about are there in each case.
    let usual =
        [package("zlib-rs", "1.0.0", "Zlib"), package("base64", "0.22.1", "MIT"), package("base64", "0.23.0", "MIT")];
    let git = Package { source: Some("git+https://example.org/x".to_owned()), ..package("x", "1.0.0", "MIT") };
    let elsewhere = Some("registry+https://other.example".to_owned());
    let elsewhere = Package { source: elsewhere, ..package("x", "1.0.0", "MIT") };
    let own = Package { source: None, ..package("own", "1.0.0", "MIT") };
    let cases: [(&[Package], &[&str]); 10] = [
        (&[], &[]),
        (&[own], &[]),
        (&[package("x", "1.0.0", "MIT OR GPL-3.0-only")], &[]),
        (&[package("x", "1.0.0", "Zlib")], &[r#"x 1.0.0: the licence "Zlib" is not allowed"#]),
        (
            &[package("x", "1.0.0", "")],
            &[
                r#"x 1.0.0: the licence "": it ends where a licence is expected"#,
                r#"x 1.0.0: the licence "" is not allowed"#,
            ],
        ),
        (&[package("openssl", "1.0.0", "MIT")], &["openssl 1.0.0: banned"]),
        (
            &[package("x", "1.0.0", "MIT"), package("x", "2.0.0", "MIT")],
            &[r#"x: more than one version: ["1.0.0", "2.0.0"]"#],
        ),
        (&[package("base64", "0.21.0", "MIT")], &[r#"base64: more than one version: ["0.21.0", "0.23.0"]"#]),
        (&[git], &["x 1.0.0: from git+https://example.org/x"]),
        (&[elsewhere], &["x 1.0.0: from registry+https://other.example"]),
    ];
    for (added, expected) in cases {
        assert_eq!(Rules::read(RULES).complaints(&[&usual, added].concat()), expected, "{added:?}");
    }
    assert_eq!(
        Rules::read(RULES).complaints(&[]),
        ["the exception of zlib-rs is not needed", "base64@0.22 is not there beside another version",]
    );
}
