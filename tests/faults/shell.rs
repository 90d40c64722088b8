//! A registry with one image, which is a shell, and a directory in memory for what is done with it.

use std::path::Path;

use tempfile::TempDir;

use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Bound, Request, Server};

/// A registry with one image: its ENTRYPOINT is `/bin/sh -c`.
pub struct ShellImage {
    _layout: TempDir,
    pub registry: Server,
}

impl ShellImage {
    pub fn new() -> Self {
        Self::watched(|_| {})
    }

    /// What is asked passes by `look` first.
    pub fn watched(look: impl Fn(&Request) + Send + Sync + 'static) -> Self {
        let dir = scratch();
        let mut layout = Layout::create(&dir.path().join("layout"));
        let image =
            layout.image(architecture(), oci::Command { entrypoint: &["/bin/sh", "-c"], cmd: &["exit 9"] }, &[]);
        let index = layout.index(&[image]);
        layout.tag("v1", &index);
        let served = Registry { layout: layout.dir().to_owned(), authorization: None };
        let registry = Server::handler(Bound::new(), None, move |request| {
            look(request);
            served.answer(request)
        });
        Self { _layout: dir, registry }
    }

    /// The flags of a step that looks the image up, with this cache.
    pub fn flags(&self, cache: &Path) -> Vec<String> {
        let host = self.registry.host();
        let cache = cache.display().to_string();
        let image = format!("{host}/team/tool:v1");
        ["-image", &image, "-image_insecure_registry", &host, "-image_cache_dir", &cache].map(str::to_owned).into()
    }
}

/// A directory in memory, where there is one: a disk is waited for, for each message.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a scratch directory")
}
