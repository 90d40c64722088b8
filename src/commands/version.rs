//! `entrypoint version`: which program this is, and what is built into it.

/// The features that can be left out of a build, and whether this one has them.
const FEATURES: [(&str, bool); 6] = [
    ("lookup", cfg!(feature = "lookup")),
    ("kube", cfg!(feature = "kube")),
    ("gcr", cfg!(feature = "gcr")),
    ("ecr", cfg!(feature = "ecr")),
    ("acr", cfg!(feature = "acr")),
    ("cel", cfg!(feature = "cel")),
];

/// The text: name, version, platform and features, on one line each. It ends with a line break.
#[must_use]
pub fn text() -> String {
    let features = FEATURES.iter().filter(|(_, built)| *built).map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    format!(
        "{} {}\nplatform: {}/{}\nfeatures: {}\n",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        if features.is_empty() { "none" } else { &features },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_program_platform_and_features() {
        let text = text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], concat!("entrypoint ", env!("CARGO_PKG_VERSION")));
        assert_eq!(lines[1], format!("platform: linux/{}", std::env::consts::ARCH));
        let features = lines[2].strip_prefix("features: ").unwrap();
        assert_eq!(features.split(' ').any(|name| name == "lookup"), cfg!(feature = "lookup"), "{text}");
    }
}
