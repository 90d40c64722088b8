//! A bill of materials in the form of CycloneDX, of what cargo says is linked and what the lock file says it is.
//!
//! It has no date and no serial number: from the same sources comes the same document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is known of the binary besides its packages.
#[derive(Debug)]
pub(crate) struct Built {
    /// The hash of its bytes, in hexadecimal.
    pub(crate) sha256: String,
    /// The compiler's version, which is the standard library's.
    pub(crate) rust: String,
    /// The version of the GNU C library that is linked into it.
    pub(crate) libc: String,
}

/// Why there is no document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BomError {
    #[error("line {0} of cargo's tree is not understood: {1:?}")]
    Line(usize, String),
    #[error("cargo's tree is empty")]
    Empty,
    #[error("Cargo.lock has no checksum of {0}")]
    NoChecksum(String),
}

/// A package by name and version, which is unique as long as all come from one registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    name: String,
    version: String,
}

impl Id {
    fn purl(&self) -> String {
        // Of what a version may have, only this is not itself in a URL.
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

/// What the tree says of a package.
#[derive(Debug, Default)]
struct Known {
    licence: String,
    repository: String,
    needs: BTreeSet<Id>,
}

/// The document. `tree` is of `cargo tree --prefix depth --format '{p}|{l}|{r}'`, its first line the program.
pub(crate) fn bom(built: &Built, tree: &str, lock: &str) -> Result<Value, BomError> {
    let (program, mut packages) = read(tree)?;
    let checksums = checksums(lock);
    let root = packages.remove(&program).unwrap_or_default();
    let mut components = Vec::new();
    for (id, known) in &packages {
        let checksum = checksums.get(&(id.name.as_str(), id.version.as_str()));
        let checksum = checksum.ok_or_else(|| BomError::NoChecksum(format!("{} {}", id.name, id.version)))?;
        let mut component = library(&id.name, &id.version, &id.purl(), &known.licence);
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        if !known.repository.is_empty() {
            component["externalReferences"] = json!([{"type": "vcs", "url": known.repository}]);
        }
        components.push(component);
    }
    let beside = [("rust-std", &built.rust, "MIT OR Apache-2.0"), ("glibc", &built.libc, "LGPL-2.1-or-later")].map(
        |(name, version, licence)| {
            let purl = format!("pkg:generic/{name}@{}", version.replace('+', "%2B"));
            (purl.clone(), library(name, version, &purl, licence))
        },
    );
    let mut first: Vec<String> = root.needs.iter().map(Id::purl).collect();
    first.extend(beside.iter().map(|(purl, _)| purl.clone()));
    components.extend(beside.into_iter().map(|(_, component)| component));

    let mut dependencies = vec![json!({"ref": program.purl(), "dependsOn": first})];
    for (id, known) in &packages {
        let needs: Vec<String> = known.needs.iter().map(Id::purl).collect();
        dependencies.push(json!({"ref": id.purl(), "dependsOn": needs}));
    }
    let mut subject = library(&program.name, &program.version, &program.purl(), &root.licence);
    subject["type"] = json!("application");
    subject["hashes"] = json!([{"alg": "SHA-256", "content": built.sha256}]);
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn library(name: &str, version: &str, purl: &str, licence: &str) -> Value {
    let mut component = json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl});
    if !licence.is_empty() {
        component["licenses"] = json!([{"expression": expression(licence)}]);
    }
    component
}

/// A licence as SPDX writes it: older packages have a slash for OR.
fn expression(licence: &str) -> String {
    licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// The program, and everything of the tree with what it needs. What was shown before stands there without what it needs.
fn read(tree: &str) -> Result<(Id, BTreeMap<Id, Known>), BomError> {
    let mut packages: BTreeMap<Id, Known> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for (index, line) in tree.lines().enumerate() {
        let wrong = || BomError::Line(index + 1, line.to_owned());
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let (depth, rest) = line.split_at_checked(digits).ok_or_else(wrong)?;
        let depth: usize = depth.parse().map_err(|_| wrong())?;
        let rest = rest.strip_suffix(" (*)").unwrap_or(rest);
        let [package, licence, repository] = rest.split('|').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) else {
            return Err(wrong());
        };
        // Only the first line has nothing above it.
        if (depth == 0) != above.is_empty() || depth > above.len() {
            return Err(wrong());
        }
        let id = Id { name: name.to_owned(), version: version.to_owned() };
        above.truncate(depth);
        if let Some(parent) = above.last() {
            packages.entry(parent.clone()).or_default().needs.insert(id.clone());
        }
        let known = packages.entry(id.clone()).or_default();
        licence.clone_into(&mut known.licence);
        repository.clone_into(&mut known.repository);
        above.push(id);
    }
    let program = above.into_iter().next().ok_or(BomError::Empty)?;
    Ok((program, packages))
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let mut all = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let text =
            |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        if let (Some(name), Some(version), Some(checksum)) = (text("name"), text("version"), text("checksum")) {
            all.insert((name, version), checksum);
        }
    }
    all
}
