//! Which identities of the pod in a cloud the environment speaks of: names of variables and files, and nobody is asked.

use std::path::Path;

use super::row::{Check, Row};
use crate::cloud::{Cloud, CloudRegistry};
use crate::host::Env;
use crate::image::shown;

/// How much of a path is shown, in characters.
const SHOWN: usize = 200;

/// What a cloud's identity is known by.
struct Sign {
    cloud: Cloud,
    /// What it is called.
    name: &'static str,
    /// The variable that stands for it.
    variable: &'static str,
    /// Those that it needs besides.
    needs: &'static [&'static str],
    /// Whether the variable names a file.
    is_file: bool,
    /// What gives a pod the missing half.
    fix: &'static str,
}

const SIGNS: [Sign; 8] = [
    Sign {
        cloud: Cloud::Google,
        name: "credential file",
        variable: "GOOGLE_APPLICATION_CREDENTIALS",
        needs: &[],
        is_file: true,
        fix: "mount the file, or unset the variable",
    },
    Sign {
        cloud: Cloud::Amazon,
        name: "keys",
        variable: "AWS_ACCESS_KEY_ID",
        needs: &["AWS_SECRET_ACCESS_KEY"],
        is_file: false,
        fix: "set both variables, or neither",
    },
    Sign {
        cloud: Cloud::Amazon,
        name: "IAM role for the service account",
        variable: "AWS_WEB_IDENTITY_TOKEN_FILE",
        needs: &["AWS_ROLE_ARN"],
        is_file: true,
        fix: "kubectl annotate serviceaccount NAME eks.amazonaws.com/role-arn=ARN; then start the pod anew",
    },
    Sign {
        cloud: Cloud::Amazon,
        name: "EKS Pod Identity",
        variable: "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        needs: &[],
        is_file: false,
        fix: "",
    },
    Sign {
        cloud: Cloud::Amazon,
        name: "role of an ECS task",
        variable: "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        needs: &[],
        is_file: false,
        fix: "",
    },
    Sign {
        cloud: Cloud::Azure,
        name: "workload identity",
        variable: "AZURE_FEDERATED_TOKEN_FILE",
        needs: &["AZURE_CLIENT_ID", "AZURE_TENANT_ID"],
        is_file: true,
        fix: "kubectl annotate serviceaccount NAME azure.workload.identity/client-id=ID, and label the pod \
              azure.workload.identity/use=true; then start it anew",
    },
    Sign {
        cloud: Cloud::Azure,
        name: "client secret",
        variable: "AZURE_CLIENT_SECRET",
        needs: &["AZURE_CLIENT_ID", "AZURE_TENANT_ID"],
        is_file: false,
        fix: "set all three variables, or none",
    },
    Sign {
        cloud: Cloud::Azure,
        name: "managed identity of a server beside the container",
        variable: "IDENTITY_ENDPOINT",
        needs: &["IDENTITY_HEADER"],
        is_file: false,
        fix: "set both variables, or neither",
    },
];

/// The lines of identities. `registry` is that of the image, `allowed` the clouds that may be asked; whether a file can be
/// read, `readable` says.
pub(super) fn rows(
    env: &Env,
    registry: Option<&str>,
    allowed: &[Cloud],
    readable: impl Fn(&Path) -> Result<(), String>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = SIGNS.iter().filter_map(|sign| sign.row(env, &readable)).collect();
    let wanted = registry.and_then(CloudRegistry::of).map(|registry| registry.cloud());
    if let Some(cloud) = wanted {
        if !cloud.is_built() {
            let fix = "use an entrypoint that has it: entrypoint version says so";
            let says = format!("{cloud} is not asked: built without the feature {}", cloud.feature());
            rows.push(Check::CloudIdentity.problem(says, fix));
        } else if !allowed.contains(&cloud) {
            let says = format!("{cloud} is not asked: -image_credential_helpers does not name it");
            let fix = format!("-image_credential_helpers {}", cloud.word());
            rows.push(Check::CloudIdentity.note(says, fix));
        } else if !SIGNS.iter().any(|sign| sign.cloud == cloud && env.text(sign.variable).is_some()) {
            rows.push(Check::CloudIdentity.note(
                format!("the registry is {cloud}'s, and no variable gives the pod an identity there"),
                "then files of its tools in HOME and the node's metadata server are asked, as the lookup's line tells; \
                 to give the service account one, see docs/clouds.md",
            ));
        }
    }
    if rows.is_empty() {
        rows.push(
            Check::CloudIdentity.ok("no variable speaks of one, and none is needed but for a cloud's own registry"),
        );
    }
    rows
}

impl Sign {
    fn row(&self, env: &Env, readable: impl Fn(&Path) -> Result<(), String>) -> Option<Row> {
        let value = env.text(self.variable)?;
        let Self { cloud, name, variable, .. } = self;
        let missing: Vec<&str> = self.needs.iter().copied().filter(|needed| env.text(needed).is_none()).collect();
        if !missing.is_empty() {
            let says = format!("{cloud} {name}: {variable} is set, and not {}", missing.join(" and "));
            return Some(Check::CloudIdentity.problem(says, self.fix));
        }
        if !self.is_file {
            return Some(Check::CloudIdentity.ok(format!("{cloud} {name}, by {variable}")));
        }
        let file = shown(value, SHOWN);
        Some(match readable(Path::new(value)) {
            Ok(()) => Check::CloudIdentity.ok(format!("{cloud} {name}, by {variable}: {file}")),
            Err(reason) => {
                let says = format!("{cloud} {name}: {variable} names a file that cannot be read: {file}: {reason}");
                Check::CloudIdentity.problem(says, self.fix)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Verdict;
    use super::*;

    fn told(variables: &[(&str, &str)], registry: Option<&str>) -> Vec<(Verdict, String)> {
        let env: Env = variables.iter().copied().collect();
        let readable = |path: &Path| if path.starts_with("/there") { Ok(()) } else { Err("no such file".to_owned()) };
        let allowed: Vec<Cloud> = Cloud::ALL.into_iter().filter(|cloud| cloud.is_built()).collect();
        let rows = rows(&env, registry, &allowed, readable);
        assert!(rows.iter().all(|row| row.fix.is_some() == (row.verdict != Verdict::Ok)), "{rows:?}");
        rows.into_iter().map(|row| (row.verdict, row.says)).collect()
    }

    #[test]
    fn an_identity_is_told_by_its_variables_and_never_by_a_secret() {
        let irsa = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/there/token");
        for (variables, verdict, says) in [
            (&[][..], Verdict::Ok, "no variable speaks of one, and none is needed but for a cloud's own registry"),
            (
                &[("GOOGLE_APPLICATION_CREDENTIALS", "/there/key.json")],
                Verdict::Ok,
                "Google credential file, by GOOGLE_APPLICATION_CREDENTIALS: /there/key.json",
            ),
            (
                &[("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")],
                Verdict::Problem,
                "Google credential file: GOOGLE_APPLICATION_CREDENTIALS names a file that cannot be read: /key.json: no \
                 such file",
            ),
            (
                &[irsa, ("AWS_ROLE_ARN", "arn")],
                Verdict::Ok,
                "Amazon IAM role for the service account, by AWS_WEB_IDENTITY_TOKEN_FILE: /there/token",
            ),
            (
                &[irsa],
                Verdict::Problem,
                "Amazon IAM role for the service account: AWS_WEB_IDENTITY_TOKEN_FILE is set, and not AWS_ROLE_ARN",
            ),
            (
                &[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")],
                Verdict::Ok,
                "Amazon keys, by AWS_ACCESS_KEY_ID",
            ),
            (
                &[("AZURE_CLIENT_SECRET", "hunter2")],
                Verdict::Problem,
                "Azure client secret: AZURE_CLIENT_SECRET is set, and not AZURE_CLIENT_ID and AZURE_TENANT_ID",
            ),
        ] {
            assert_eq!(told(variables, None), [(verdict, says.to_owned())]);
        }
    }

    #[test]
    fn for_a_clouds_own_registry_it_is_told_who_is_not_asked() {
        let cloud = |registry: &str| told(&[], Some(registry));
        assert_eq!(cloud("ghcr.io")[0].0, Verdict::Ok);
        let (verdict, says) = &cloud("gcr.io")[0];
        if Cloud::Google.is_built() {
            assert_eq!(*verdict, Verdict::Note, "{says}");
            let none = rows(&Env::default(), Some("gcr.io"), &[], |_| Ok(()));
            assert_eq!(none[0].says, "Google is not asked: -image_credential_helpers does not name it");
            assert_eq!(none[0].fix.as_deref(), Some("-image_credential_helpers google"));
        } else {
            assert_eq!(
                (*verdict, says.as_str()),
                (Verdict::Problem, "Google is not asked: built without the feature gcr")
            );
        }
    }
}
