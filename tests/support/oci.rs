//! Writes OCI image layouts: the form in which images are brought to real registries and container engines.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]
#![allow(clippy::expect_used, reason = "a test that cannot write its images is to fail")]

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image layout in a directory, to which images are added.
pub struct Layout {
    dir: PathBuf,
    tagged: Vec<Value>,
}

/// What an image would run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Command<'a> {
    pub entrypoint: &'a [&'a str],
    pub cmd: &'a [&'a str],
}

/// A file or, where it has no content, a directory of a layer.
pub struct Entry<'a> {
    pub path: &'a str,
    pub mode: u32,
    pub content: Option<&'a [u8]>,
}

/// The architecture of this machine, in the words of images.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Layout {
    /// An empty layout in a directory, which is created.
    pub fn create(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("the layout's directory");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
        let layout = Self { dir: dir.to_owned(), tagged: Vec::new() };
        layout.write_index();
        layout
    }

    /// The directory of the layout.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a layer with these files; its descriptor.
    pub fn layer(&self, entries: &[Entry]) -> Value {
        self.blob(LAYER, &tar(entries))
    }

    /// Adds an image for `linux/<architecture>`; the descriptor of its manifest.
    pub fn image(&self, architecture: &str, command: Command, layers: &[Value]) -> Value {
        self.image_with(json!({"Env": ["PATH=/bin:/usr/bin"]}), architecture, command, layers)
    }

    /// The same with what else stands in its config (`User`, `Env`), and nothing that does not.
    pub fn image_with(&self, mut config: Value, architecture: &str, command: Command, layers: &[Value]) -> Value {
        // Absent, not empty: that is what builders write.
        if !command.entrypoint.is_empty() {
            config["Entrypoint"] = json!(command.entrypoint);
        }
        if !command.cmd.is_empty() {
            config["Cmd"] = json!(command.cmd);
        }
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut descriptor = self.blob(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    /// Adds what BuildKit puts beside an image: an attestation, which is for no platform (`unknown/unknown`).
    pub fn attestation(&self, subject: &Value) -> Value {
        let statement = self.blob("application/vnd.in-toto+json", br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#);
        let config = json!({
            "architecture": "unknown", "os": "unknown", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]},
        });
        let config = self.blob(CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]});
        let mut descriptor = self.blob(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        descriptor["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject["digest"],
        });
        descriptor
    }

    /// Adds an index of images; its descriptor.
    pub fn index(&self, children: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Gives an image or an index a name, by which `oci:DIR:NAME` finds it.
    pub fn tag(&mut self, name: &str, descriptor: &Value) {
        let mut descriptor = descriptor.clone();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.tagged.push(descriptor);
        self.write_index();
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.tagged});
        fs::write(self.dir.join("index.json"), index.to_string()).expect("index.json");
    }

    fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let hex: String = digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(self.dir.join("blobs/sha256").join(&hex), content).expect("a blob");
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()})
    }
}

/// A tar archive in the ustar format: a header of 512 bytes per entry, contents padded to 512, two empty blocks.
fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        let mut header = [0; 512];
        let mut field = |offset: usize, text: &str| {
            header[offset..offset + text.len()].copy_from_slice(text.as_bytes());
        };
        let size = entry.content.map_or(0, <[u8]>::len);
        field(0, entry.path);
        field(100, &format!("{:07o}", entry.mode));
        field(108, "0000000");
        field(116, "0000000");
        field(124, &format!("{size:011o}"));
        field(136, "00000000000");
        // The checksum is taken with its own field full of spaces.
        field(148, "        ");
        field(156, if entry.content.is_some() { "0" } else { "5" });
        field(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(entry.content.unwrap_or_default());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
