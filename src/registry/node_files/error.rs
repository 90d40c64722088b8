//! Why what a node knows about registries is of no use for a lookup.

use std::io;
use std::path::PathBuf;

use super::document::Position;
use crate::image::ReferenceError;
use crate::sys::file::FileError;

/// Why a lookup does not go by the files of `-image_registry_config`. It then goes nowhere: the place that it would ask
/// without them is one that they may have been written to keep it from.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// A path or a file that cannot be read.
    #[error("the registry configuration cannot be read")]
    File {
        /// Why.
        source: FileError,
    },
    /// A path or a directory that cannot be looked at.
    #[error("the registry configuration {path:?} cannot be read")]
    Look {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory with more in it than is looked at.
    #[error("the registry configuration {path:?} has more than {limit} entries")]
    Crowded {
        /// The directory.
        path: PathBuf,
        /// How many are looked at.
        limit: usize,
    },
    /// A directory that is neither of the two.
    #[error(
        "the registry configuration {path:?} holds .conf files and directories: name registries.conf, registries.conf.d \
         or certs.d in it"
    )]
    Mixed {
        /// The directory.
        path: PathBuf,
    },
    /// The directory of one registry.
    #[error(
        "the registry configuration {path:?} holds a hosts.toml itself: name the directory above it, in which each \
         registry has one of its own"
    )]
    OneRegistry {
        /// The directory.
        path: PathBuf,
    },
    /// No text.
    #[error("the registry configuration {path:?} is not UTF-8")]
    Encoding {
        /// The file.
        path: PathBuf,
    },
    /// A file that does not say what it should, or not so that it could be read.
    #[error("the registry configuration {path:?} cannot be used: line {line}, column {column}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        source: Box<Fault>,
    },
    /// `blocked = true`.
    #[error("{reference} may not be asked for: {path:?}, line {line}, blocks {prefix:?}")]
    Blocked {
        /// The image.
        reference: String,
        /// The file.
        path: PathBuf,
        /// The line of the table.
        line: usize,
        /// Which images it blocks.
        prefix: String,
    },
    /// Every place is left out for a reason of its own, which a note tells.
    #[error("{path:?} leaves no place where {reference} could be asked for: {reasons}")]
    NoPlace {
        /// The image.
        reference: String,
        /// The file.
        path: PathBuf,
        /// What became of each.
        reasons: String,
    },
}

/// What is wrong at a place of a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// In the parser's words.
    #[error("it is no TOML: {0}")]
    Syntax(String),
    /// Another kind of value.
    #[error("{key} must be {wanted}")]
    Type {
        /// Which.
        key: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A word of containerd's that is none.
    #[error("{0:?} is no capability; pull, resolve, push and referrers are")]
    Capability(String),
    /// A place that is none.
    #[error("a registry's URL {0}")]
    Url(&'static str),
    /// A `hosts.toml` where a `registries.conf` was expected.
    #[error(
        "{0} is a key of hosts.toml, and this file was read as a registries.conf: name the directory in which each \
         registry has a directory with its hosts.toml"
    )]
    HostsToml(&'static str),
    /// `[registries.search]` and its like.
    #[error(
        "this is version 1 of the format, which is not read: write [[registry]] tables as \
         containers-registries.conf(5) has them"
    )]
    Version1,
    /// A registry without a name.
    #[error("a [[registry]] needs a prefix or a location, and a location unless its prefix begins with *.")]
    NoPrefix,
    /// A mirror without a name.
    #[error("a [[registry.mirror]] needs a location")]
    NoLocation,
    /// A URL.
    #[error("{0} is written without a scheme, as in registry.example.com:5000/team; plain http is insecure = true")]
    Scheme(&'static str),
    /// A wildcard that stands for more than subdomains.
    #[error("a prefix may have a wildcard only as *.example.com, without a port and a path")]
    Wildcard,
    /// A word of `pull-from-mirror` that is none.
    #[error("pull-from-mirror must be all, digest-only or tag-only")]
    PullFromMirror,
    /// A mirror's key on a registry.
    #[error("pull-from-mirror is for a [[registry.mirror]]")]
    NoMirror,
    /// Two rules for one thing.
    #[error("pull-from-mirror excludes the mirror-by-digest-only of its [[registry]]")]
    TwoRules,
    /// A location that leads nowhere, found when an image was asked for.
    #[error("the location {location:?} makes no image reference of {reference}")]
    Location {
        /// As written.
        location: String,
        /// The image.
        reference: String,
        /// Why.
        source: Option<ReferenceError>,
    },
}

impl NodeFileError {
    pub(super) fn broken(path: PathBuf, Position { line, column }: Position, source: Fault) -> Self {
        Self::Broken { path, line, column, source: Box::new(source) }
    }
}
