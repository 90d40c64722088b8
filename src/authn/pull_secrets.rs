//! Credentials from a cluster's pull secrets, once somebody has read them.

use super::Found;
use super::document::{Entries, Form};
use super::matching::Target;
use crate::credential::{NamedBy, Note, PullSecret, PullSecretDocument};

/// The credentials that pull secrets have for a repository: those of the pod's secrets, then those of the command
/// line's, then those of the service account's. Within each, the most specific key comes first, as kubelet has it, and
/// among equal keys the first secret. A secret that cannot help is a note.
#[must_use]
pub fn credentials(secrets: &[PullSecret], registry: &str, repository: &str) -> Found {
    let target = Target::new(registry, repository);
    let mut found = Found::default();
    for by in [NamedBy::Pod, NamedBy::Flag, NamedBy::ServiceAccount] {
        let mut entries = Entries::default();
        for secret in secrets.iter().filter(|secret| secret.name.named_by == by) {
            let source = secret.name.to_string();
            match &secret.document {
                PullSecretDocument::Config(text) => entries.add(&source, text.expose(), Form::Config, &target),
                PullSecretDocument::Legacy(text) => entries.add(&source, text.expose(), Form::Legacy, &target),
                PullSecretDocument::Unusable(reason) => entries.note(Note::new(source, reason.to_string())),
            }
        }
        found.merge(entries.for_target(&target));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{PullSecretName, UnusablePullSecret};
    use crate::secret::Secret;

    fn secret(name: &str, document: PullSecretDocument) -> PullSecret {
        secret_of(NamedBy::Pod, name, document)
    }

    fn secret_of(named_by: NamedBy, name: &str, document: PullSecretDocument) -> PullSecret {
        let name = PullSecretName { namespace: "ci".to_owned(), name: name.to_owned(), named_by, also_by: Vec::new() };
        PullSecret { name, document }
    }

    fn config(name: &str, key: &str, password: &str) -> PullSecret {
        let text = format!(r#"{{"auths": {{"{key}": {{"username": "me", "password": "{password}"}}}}}}"#);
        secret(name, PullSecretDocument::Config(Secret::new(text)))
    }

    fn sources(secrets: &[PullSecret]) -> Vec<String> {
        credentials(secrets, "ghcr.io", "team/app").credentials.into_iter().map(|c| c.source).collect()
    }

    #[test]
    fn specific_keys_come_first_across_secrets_and_the_first_secret_wins_among_equals() {
        let secrets = [
            config("wide", "*.io", "1"),
            config("host", "ghcr.io", "2"),
            config("other", "quay.io", "3"),
            config("team", "ghcr.io/team", "4"),
            config("host-again", "ghcr.io", "5"),
        ];
        assert_eq!(
            sources(&secrets),
            [
                r#"pull secret ci/team of the pod, key "ghcr.io/team""#,
                r#"pull secret ci/host of the pod, key "ghcr.io""#,
                r#"pull secret ci/host-again of the pod, key "ghcr.io""#,
                r#"pull secret ci/wide of the pod, key "*.io""#,
            ]
        );
    }

    #[test]
    fn who_named_a_secret_comes_before_how_specific_its_key_is() {
        let named = |by, secret: PullSecret| secret_of(by, &secret.name.name, secret.document);
        let secrets = [
            named(NamedBy::ServiceAccount, config("account", "ghcr.io/team/app", "1")),
            named(NamedBy::Flag, config("flag", "ghcr.io/team", "2")),
            named(NamedBy::Pod, config("pod", "*.io", "3")),
        ];
        assert_eq!(
            sources(&secrets),
            [
                r#"pull secret ci/pod of the pod, key "*.io""#,
                r#"pull secret ci/flag of -image_pull_secrets, key "ghcr.io/team""#,
                r#"pull secret ci/account of the service account, key "ghcr.io/team/app""#,
            ]
        );
    }

    #[test]
    fn the_same_proof_is_tried_once() {
        let secrets = [config("one", "ghcr.io", "same"), config("two", "ghcr.io", "same")];
        assert_eq!(sources(&secrets), [r#"pull secret ci/one of the pod, key "ghcr.io""#]);
        let mut found = credentials(&secrets, "ghcr.io", "team/app");
        found.merge(credentials(&secrets, "ghcr.io", "team/app"));
        assert_eq!(found.credentials.len(), 1);
    }

    #[test]
    fn both_types_of_pull_secret_are_read() {
        let entry = r#"{"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}"#;
        let config = secret("new", PullSecretDocument::Config(Secret::new(format!(r#"{{"auths": {entry}}}"#))));
        let legacy = secret("old", PullSecretDocument::Legacy(Secret::new(entry.to_owned())));
        assert_eq!(sources(std::slice::from_ref(&config)), [r#"pull secret ci/new of the pod, key "ghcr.io""#]);
        assert_eq!(sources(&[legacy]), [r#"pull secret ci/old of the pod, key "ghcr.io""#]);
    }

    #[test]
    fn a_secret_that_cannot_help_says_why() {
        let secrets = [
            secret("opaque", PullSecretDocument::Unusable(UnusablePullSecret::OtherType("Opaque".to_owned()))),
            secret("bare", PullSecretDocument::Unusable(UnusablePullSecret::NoKey(".dockercfg"))),
            secret("bytes", PullSecretDocument::Unusable(UnusablePullSecret::NotUtf8(".dockercfg"))),
            secret("broken", PullSecretDocument::Config(Secret::new("hunter2".to_owned()))),
            config("elsewhere", "quay.io", "hunter2"),
        ];
        let found = credentials(&secrets, "ghcr.io", "team/app");
        assert_eq!(found.credentials, []);
        assert_eq!(
            found.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                concat!(
                    "pull secret ci/opaque of the pod: its type \"Opaque\" holds no registry credentials ",
                    "(kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg do)"
                ),
                r#"pull secret ci/bare of the pod: it has no ".dockercfg""#,
                r#"pull secret ci/bytes of the pod: its ".dockercfg" is not UTF-8"#,
                "pull secret ci/broken of the pod: it is not JSON: expected value at line 1 column 1",
                r#"pull secret ci/elsewhere of the pod: no entry for ghcr.io/team/app; it has "quay.io""#,
            ]
        );
    }
}
