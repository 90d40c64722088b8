//! What is linked, and the texts that each package has of its licences, or, where it has none, those that it names.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A part of the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An expression of SPDX.
    pub(crate) licence: String,
    /// Where its sources are; whose it is.
    pub(crate) source: String,
    pub(crate) authors: String,
    /// What is to be known besides.
    pub(crate) note: &'static str,
    /// Each with the name of its file.
    pub(crate) texts: Vec<(String, String)>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    #[error("cargo's metadata cannot be read")]
    Metadata(#[from] serde_json::Error),
    #[error("cargo's tree is empty")]
    Empty,
    #[error("line {0:?} of cargo's tree is not understood")]
    Line(String),
    #[error("cargo's metadata has no package {0}")]
    Unknown(String),
    #[error("{0} has no text of its licence, and names none")]
    NoLicence(String),
    #[error("there is no text of {0}: put it at docs/licences/{0}.txt")]
    NoText(String),
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
}

/// The text that is kept here of a licence or of a part's notices.
pub(crate) fn standard(repository: &Path, name: &str) -> Result<String, PartError> {
    let file = match name {
        // It is the program's own.
        "Apache-2.0" => "LICENSE".to_owned(),
        _ => format!("docs/licences/{name}.txt"),
    };
    fs::read_to_string(repository.join(file)).map_err(|_| PartError::NoText(name.to_owned()))
}

type Standard<'a> = &'a dyn Fn(&str) -> Result<String, PartError>;

/// Name and version of the program, and all packages that are linked into it. `tree` is of `cargo tree --prefix none --format {p}`.
pub(crate) fn linked(tree: &str, metadata: &str, standard: Standard<'_>) -> Result<(String, Vec<Part>), PartError> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = tree.lines().map(|line| {
        let mut words = line.split(' ');
        let version = |word: Option<&str>| word.and_then(|word| word.strip_prefix('v')).map(str::to_owned);
        let name = words.next().unwrap_or_default().to_owned();
        version(words.next()).map(|version| (name, version)).ok_or_else(|| PartError::Line(line.to_owned()))
    });
    let (program, version) = lines.next().ok_or(PartError::Empty)??;
    let mut wanted = lines.collect::<Result<BTreeSet<_>, _>>()?;
    wanted.remove(&(program.clone(), version.clone()));
    let mut all = Vec::new();
    for (name, version) in wanted {
        let known = packages.iter().find(|package| package["name"] == name && package["version"] == version);
        let known = known.ok_or_else(|| PartError::Unknown(format!("{name} {version}")))?;
        all.push(part(name, version, known, standard)?);
    }
    Ok((format!("{program} {version}"), all))
}

fn part(name: String, version: String, known: &Value, standard: Standard<'_>) -> Result<Part, PartError> {
    let field = |name: &str| known[name].as_str().unwrap_or_default();
    let authors = known["authors"].as_array().map_or(&[][..], Vec::as_slice);
    let authors: Vec<&str> = authors.iter().filter_map(Value::as_str).collect();
    let dir = Path::new(field("manifest_path")).parent().unwrap_or_else(|| Path::new(""));
    // Older packages have a slash for OR.
    let licence = field("license").split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
    let mut texts = Vec::new();
    for file in files(dir, dir)? {
        let bytes = fs::read(dir.join(&file)).map_err(|error| PartError::Read(dir.join(&file), error))?;
        texts.push((file, String::from_utf8_lossy(&bytes).into_owned()));
    }
    texts.sort();
    if texts.is_empty() {
        let words = licence.split([' ', '(', ')']).filter(|word| !["", "OR", "AND"].contains(word));
        for id in words {
            texts.push((format!("none in its package; {id} as it is everywhere"), standard(id)?));
        }
    }
    if texts.is_empty() {
        return Err(PartError::NoLicence(format!("{name} {version}")));
    }
    let (source, authors) = (field("repository").to_owned(), authors.join(", "));
    Ok(Part { name, version, licence, source, authors, note: "", texts })
}

/// The files below a directory that are named for a licence, from there.
fn files(root: &Path, dir: &Path) -> Result<Vec<String>, PartError> {
    let failed = |error| PartError::Read(dir.to_owned(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let named = ["licence", "license", "copying", "copyright", "notice", "unlicense"];
        // A directory LICENSES has files that are named for what is in them.
        let of_licences = dir.file_name().is_some_and(|dir| dir.eq_ignore_ascii_case("licenses"));
        if path.is_dir() {
            found.extend(files(root, &path)?);
        } else if !name.ends_with(".rs") && (of_licences || named.iter().any(|start| name.starts_with(start))) {
            let below = path.strip_prefix(root).unwrap_or(&path);
            found.push(below.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// What is linked and is no package of cargo's.
pub(crate) fn beside(rust: &str, libc: &str, standard: Standard<'_>) -> Result<[Part; 3], PartError> {
    let part =
        |name: &str, version: &str, licence: &str, source: &str, authors: &str, note: &'static str, texts: &[&str]| {
            let text = |name: &&str| Ok((format!("docs/licences, {name}"), standard(name)?));
            let texts = texts.iter().map(text).collect::<Result<Vec<(String, String)>, PartError>>()?;
            Ok::<_, PartError>(Part {
                name: name.to_owned(),
                version: version.to_owned(),
                licence: licence.to_owned(),
                source: source.to_owned(),
                authors: authors.to_owned(),
                note,
                texts,
            })
        };
    Ok([
        part(
            "Rust's standard library",
            rust,
            "MIT OR Apache-2.0",
            "https://github.com/rust-lang/rust",
            "The Rust Project Contributors",
            "Every toolchain of Rust has the notices of what is within it, as COPYRIGHT-library.html.",
            &["MIT", "Apache-2.0"],
        )?,
        part(
            "GNU C Library",
            libc,
            "LGPL-2.1-or-later",
            "https://sourceware.org/git/glibc.git",
            "Free Software Foundation, Inc.",
            "Linked statically. You may change it and link the program with it anew: the program's sources are all there is to \
             it, and docs/release.md says how it is built. Who passes the binary on offers this version's sources beside it.",
            &["LGPL-2.1", "glibc"],
        )?,
        part(
            "GCC's runtime library",
            "of the C compiler",
            "GPL-3.0-or-later WITH GCC-exception-3.1",
            "https://gcc.gnu.org/git/gcc.git",
            "Free Software Foundation, Inc.",
            "The exception lets what is compiled with it be passed on under terms of one's own choice.",
            &["GCC-exception-3.1"],
        )?,
    ])
}
