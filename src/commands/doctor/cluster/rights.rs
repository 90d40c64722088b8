//! What the token may read, with the Role that is missing; and what the pull secrets that it leads to are for.

use super::super::files::contents;
use super::super::row::{Check, Row};
use crate::authn::inventory;
use crate::kube::{Access, NamedSecret, Object, Rights, ServiceAccount};

/// The lines of rights and pull secrets; why the rest was `left` out.
pub(super) fn rows(rights: &Rights, left: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    let bearer = rights.bearer.as_ref();
    match &rights.pod {
        Some((object, access)) => rows.push(of_pod(object, access, bearer)),
        None => rows.push(Check::Rbac.note(
            "the token does not say which pod this is, so the pod's own imagePullSecrets are not read",
            "name them by -image_pull_secrets",
        )),
    }
    rows.extend(rights.account.as_ref().map(|(object, access)| of_account(object, access, bearer)));
    rows.extend(of_secrets(&rights.secrets, bearer));
    rows.extend(rights.secrets.iter().filter_map(pull_secret));
    for note in &rights.notes {
        rows.push(Check::PullSecrets.problem(note.to_string(), "give it the name of a secret of this namespace"));
    }
    if let Some(left) = left {
        rows.push(Check::Rbac.not_checked(left, "run it again, or look why the API server is slow"));
    }
    if !rows.iter().any(|row| row.check == Check::PullSecrets) {
        rows.push(none_found(rights));
    }
    rows
}

fn of_pod(object: &Object, access: &Access, bearer: Option<&ServiceAccount>) -> Row {
    match access {
        Access::Read => Check::Rbac.ok(format!("may get {object}")),
        Access::Forbidden => Check::Rbac.note(
            format!(
                "may not get {object}: needed if the pod itself names imagePullSecrets, and for -image_pin=pod-status"
            ),
            // A pod's name is known only once it is there.
            role(object, &[], bearer),
        ),
        Access::Missing => Check::Rbac.note(format!("the cluster has no {object}"), AGAIN),
        Access::Unknown { reason } => Check::Rbac.not_checked(format!("{object}: {reason}"), REACH),
    }
}

fn of_account(object: &Object, access: &Access, bearer: Option<&ServiceAccount>) -> Row {
    match access {
        Access::Read => Check::Rbac.ok(format!("may get {object}")),
        Access::Forbidden => Check::Rbac.note(
            format!("may not get {object}: needed to find the pull secrets that it names; -image_pull_secrets names them too"),
            role(object, &[object.name.as_str()], bearer),
        ),
        Access::Missing => Check::Rbac.problem(
            format!("the cluster has no {object}"),
            format!(
                "kubectl create serviceaccount {} --namespace={}",
                object.name.as_str(),
                object.namespace.as_str()
            ),
        ),
        Access::Unknown { reason } => Check::Rbac.not_checked(format!("{object}: {reason}"), REACH),
    }
}

/// One line for the secrets that may be read, one for those that may not be, one for each of the rest.
fn of_secrets(secrets: &[NamedSecret], bearer: Option<&ServiceAccount>) -> Vec<Row> {
    let mut rows = Vec::new();
    let with = |wanted: &Access| secrets.iter().filter(|secret| secret.access == *wanted).collect::<Vec<_>>();
    let listed = |secrets: &[&NamedSecret]| {
        secrets.iter().map(|secret| secret.object.to_string()).collect::<Vec<_>>().join(", ")
    };
    let readable = with(&Access::Read);
    if !readable.is_empty() {
        rows.push(Check::Rbac.ok(format!("may get {}", listed(&readable))));
    }
    let mut forbidden = with(&Access::Forbidden);
    // A Role is for one namespace.
    while let Some(namespace) = forbidden.first().map(|secret| secret.object.namespace.clone()) {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            forbidden.into_iter().partition(|secret| secret.object.namespace == namespace);
        let names: Vec<&str> = here.iter().map(|secret| secret.object.name.as_str()).collect();
        if let Some(first) = here.first() {
            let says = format!("may not get {}: what they open stays closed", listed(&here));
            rows.push(Check::Rbac.problem(says, role(&first.object, &names, bearer)));
        }
        forbidden = elsewhere;
    }
    rows.extend(secrets.iter().filter_map(|NamedSecret { object, access, .. }| match access {
        Access::Unknown { reason } => Some(Check::Rbac.not_checked(format!("{object}: {reason}"), REACH)),
        Access::Read | Access::Forbidden | Access::Missing => None,
    }));
    rows
}

const AGAIN: &str = "is this container in the pod whose token it has? kubectl get pods";
const REACH: &str = "look at the API server, and at NetworkPolicies between it and this pod";

/// The commands that let the bearer get these objects of a kind; all of the namespace's, if none is named.
fn role(object: &Object, names: &[&str], bearer: Option<&ServiceAccount>) -> String {
    let (namespace, resource) = (object.namespace.as_str(), object.resource);
    let account = bearer.map_or_else(
        || format!("{namespace}:default"),
        |bearer| format!("{}:{}", bearer.namespace.as_str(), bearer.name.as_str()),
    );
    let owner = bearer.map_or("default", |bearer| bearer.name.as_str());
    let name = format!("{owner}-get-{resource}");
    let named: String = names.iter().map(|name| format!(" --resource-name={name}")).collect();
    format!(
        "kubectl create role {name} --namespace={namespace} --verb=get --resource={resource}{named}\n\
         kubectl create rolebinding {name} --namespace={namespace} --role={name} --serviceaccount={account}"
    )
}

/// What a pull secret is for. Where it may not be read, the rights say so.
fn pull_secret(secret: &NamedSecret) -> Option<Row> {
    let (name, namespace) = (&secret.name, secret.object.namespace.as_str());
    match (&secret.document, &secret.access) {
        (Some(document), _) => Some(contents(
            Check::PullSecrets,
            &name.to_string(),
            &inventory::of_pull_secret(document),
            &format!(
                "kubectl create secret docker-registry NAME --namespace={namespace} --docker-server=REGISTRY \
                 --docker-username=USER --docker-password=PASSWORD"
            ),
        )),
        (None, Access::Missing) => Some(Check::PullSecrets.problem(
            format!("{name}: namespace {namespace} has no secret of this name"),
            format!(
                "kubectl get secrets --namespace={namespace}\nthen create it, or take its name away where it is named"
            ),
        )),
        (None, Access::Forbidden) => {
            Some(Check::PullSecrets.not_checked(format!("{name}: it may not be read"), "see the line of rbac"))
        }
        (None, Access::Unknown { .. } | Access::Read) => {
            Some(Check::PullSecrets.not_checked(format!("{name}: it was not read"), "see the line of rbac"))
        }
    }
}

fn none_found(rights: &Rights) -> Row {
    let read = |asked: &Option<(Object, Access)>| matches!(asked, Some((_, Access::Read)));
    if read(&rights.account) && read(&rights.pod) {
        return Check::PullSecrets.ok("neither the pod nor its service account names any");
    }
    Check::PullSecrets.not_checked(
        "nobody who may name any could be read in full",
        "see the lines of rbac, or name them by -image_pull_secrets",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::row::Verdict;
    use super::*;
    use crate::credential::{NamedBy, Note, PullSecretDocument, PullSecretName};
    use crate::kube::Name;
    use crate::secret::Secret;

    fn name(text: &str) -> Name {
        Name::parse(text, "name").unwrap()
    }

    fn object(resource: &'static str, text: &str) -> Object {
        Object { resource, namespace: name("ci"), name: name(text) }
    }

    fn secret(text: &str, access: Access, document: Option<&str>) -> NamedSecret {
        let document = document.map(|text| PullSecretDocument::Config(Secret::new(text.to_owned())));
        let of = PullSecretName {
            namespace: "ci".to_owned(),
            name: text.to_owned(),
            named_by: NamedBy::ServiceAccount,
            also_by: Vec::new(),
        };
        NamedSecret { name: of, object: object("secrets", text), access, document }
    }

    fn rights(pod: Access, account: Access, secrets: Vec<NamedSecret>) -> Rights {
        Rights {
            bearer: Some(ServiceAccount { namespace: name("ci"), name: name("builder") }),
            pod: Some((object("pods", "run-pod"), pod)),
            account: Some((object("serviceaccounts", "builder"), account)),
            secrets,
            notes: Vec::new(),
        }
    }

    fn told(rows: &[Row]) -> Vec<(Verdict, &str)> {
        assert!(rows.iter().all(|row| row.fix.is_some() == (row.verdict != Verdict::Ok)), "{rows:?}");
        rows.iter().map(|row| (row.verdict, row.says.as_str())).collect()
    }

    #[test]
    fn what_may_be_read_is_told_and_what_the_secrets_are_for() {
        let config = r#"{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}, "quay.io": {"auth": "hunter2!"}}}"#;
        let secrets = vec![secret("a", Access::Read, Some(config)), secret("b", Access::Missing, None)];
        let rows = rows(&rights(Access::Read, Access::Read, secrets), None);
        assert_eq!(
            told(&rows),
            [
                (Verdict::Ok, "may get pod ci/run-pod"),
                (Verdict::Ok, "may get service account ci/builder"),
                (Verdict::Ok, "may get secret ci/a"),
                (
                    Verdict::Problem,
                    "pull secret ci/a of the service account: for \"ghcr.io\"; of no use: \"quay.io\" (its \"auth\" is \
                     not base64)"
                ),
                (Verdict::Problem, "pull secret ci/b of the service account: namespace ci has no secret of this name"),
            ]
        );
        assert!(!format!("{rows:?}").contains("hunter2"));
    }

    #[test]
    fn what_may_not_be_read_is_told_with_the_role_that_lets_it() {
        let secrets = vec![secret("a", Access::Forbidden, None), secret("b", Access::Forbidden, None)];
        let rows = rows(&rights(Access::Forbidden, Access::Forbidden, secrets), None);
        let verdicts: Vec<_> = rows.iter().map(|row| row.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Note, Verdict::Note, Verdict::Problem, Verdict::NotChecked, Verdict::NotChecked]
        );
        let role = |resource: &str, names: &str| {
            format!(
                "kubectl create role builder-get-{resource} --namespace=ci --verb=get --resource={resource}{names}\n\
                 kubectl create rolebinding builder-get-{resource} --namespace=ci --role=builder-get-{resource} \
                 --serviceaccount=ci:builder"
            )
        };
        for (row, fix) in rows.iter().zip([
            role("pods", ""),
            role("serviceaccounts", " --resource-name=builder"),
            role("secrets", " --resource-name=a --resource-name=b"),
        ]) {
            assert_eq!(row.fix.as_deref(), Some(fix.as_str()));
        }
        assert_eq!(rows[2].says, "may not get secret ci/a, secret ci/b: what they open stays closed");
    }

    #[test]
    fn what_was_not_found_out_is_not_taken_for_a_right_nor_for_its_absence() {
        let unknown = || Access::Unknown { reason: "the API server answered 500".to_owned() };
        let mut rights = rights(unknown(), unknown(), vec![secret("a", unknown(), None)]);
        rights.notes.push(Note::new("the pod", "\"../x\" cannot be a name"));
        let rows = rows(&rights, Some("not everything was asked within 20s"));
        let verdicts: Vec<_> = rows.iter().map(|row| row.verdict).collect();
        use Verdict::{NotChecked, Problem};
        assert_eq!(verdicts, [NotChecked, NotChecked, NotChecked, NotChecked, Problem, NotChecked]);
        assert_eq!(rows[0].says, "pod ci/run-pod: the API server answered 500");
    }

    #[test]
    fn that_there_are_no_pull_secrets_is_said_only_where_that_is_known() {
        let none = |pod, account| {
            let rows = rows(&rights(pod, account, Vec::new()), None);
            rows.last().map(|row| (row.check, row.verdict)).unwrap()
        };
        assert_eq!(none(Access::Read, Access::Read), (Check::PullSecrets, Verdict::Ok));
        assert_eq!(none(Access::Forbidden, Access::Read), (Check::PullSecrets, Verdict::NotChecked));
        assert_eq!(none(Access::Read, Access::Missing), (Check::PullSecrets, Verdict::NotChecked));
        let nobody = Rights { pod: None, ..rights(Access::Read, Access::Read, Vec::new()) };
        assert_eq!(rows(&nobody, None)[0].verdict, Verdict::Note);
    }
}
