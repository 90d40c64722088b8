//! The token of the service account.

use super::super::row::{Check, Row, about};
use crate::kube::{InClusterError, TokenClaims};
use crate::sys::cause::chain;

/// A token that expires sooner is worth a word: kubelet renews one at four fifths of its life.
const SOON: u64 = 60;

/// The line of the token, at a moment in seconds since 1970.
pub(super) fn row(read: &Result<TokenClaims, InClusterError>, now: u64) -> Row {
    let claims = match read {
        Ok(claims) => claims,
        Err(InClusterError::NoToken(_)) => {
            let says = read.as_ref().err().map_or_else(String::new, |error| chain(error));
            return Check::Token.note(
                says,
                "without it only what is mounted and in the environment helps; automountServiceAccountToken: true in the \
                 pod's spec gives it one",
            );
        }
        Err(error) => {
            let fix = "make it readable for this user (fsGroup in the pod's securityContext), or run as another one";
            return Check::Token.problem(chain(error), fix);
        }
    };
    let Some(identity) = &claims.identity else {
        let fix =
            "mount a token of Kubernetes at -service_account_dir, or name the account by -taskrun_service_account";
        return Check::Token.note("the token does not say whose it is", fix);
    };
    let pod = identity
        .pod
        .as_ref()
        .map_or_else(|| "it does not say for which pod".to_owned(), |pod| format!("for pod {}", pod.name.as_str()));
    let audiences =
        if claims.audiences.is_empty() { String::new() } else { format!(", for {}", claims.audiences.join(", ")) };
    let who = format!("{}, {pod}{audiences}", identity.account);
    let renewed = "kubelet renews it: look at the node's clock, and whether the pod is still there (kubectl get pod)";
    match claims.expires {
        None => Check::Token.ok(format!("{who}; it never expires")),
        Some(expires) if expires <= now => {
            Check::Token.problem(format!("{who}; it expired {} ago", about(now - expires)), renewed)
        }
        Some(expires) if expires - now < SOON => {
            Check::Token.note(format!("{who}; it expires in {}", about(expires - now)), renewed)
        }
        Some(expires) => Check::Token.ok(format!("{who}; it expires in {}", about(expires - now))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::row::Verdict;
    use super::*;
    use crate::kube::{BoundPod, Identity, Name, ServiceAccount};

    const NOW: u64 = 1_795_262_400;

    fn claims(pod: bool, expires: Option<u64>) -> TokenClaims {
        let name = |text: &str| Name::parse(text, "name").unwrap();
        TokenClaims {
            identity: Some(Identity {
                account: ServiceAccount { namespace: name("ci"), name: name("builder") },
                pod: pod.then(|| BoundPod { name: name("run-pod"), uid: "u".to_owned() }),
            }),
            expires,
            audiences: vec!["https://kubernetes.default.svc".to_owned()],
        }
    }

    #[test]
    fn the_token_is_told_with_its_life() {
        let who = "service account ci/builder, for pod run-pod, for https://kubernetes.default.svc";
        for (read, verdict, says) in [
            (Ok(claims(true, Some(NOW + 3000))), Verdict::Ok, format!("{who}; it expires in 50 minutes")),
            (Ok(claims(true, None)), Verdict::Ok, format!("{who}; it never expires")),
            (Ok(claims(true, Some(NOW + 59))), Verdict::Note, format!("{who}; it expires in 59 seconds")),
            (Ok(claims(true, Some(NOW))), Verdict::Problem, format!("{who}; it expired 0 seconds ago")),
            (Ok(claims(true, Some(NOW - 7200))), Verdict::Problem, format!("{who}; it expired 2 hours ago")),
            (
                Ok(TokenClaims { audiences: Vec::new(), ..claims(false, None) }),
                Verdict::Ok,
                "service account ci/builder, it does not say for which pod; it never expires".to_owned(),
            ),
            (Ok(TokenClaims::default()), Verdict::Note, "the token does not say whose it is".to_owned()),
            (
                Err(InClusterError::NoToken("/t".into())),
                Verdict::Note,
                "no token at /t: not in a cluster, or the pod has automountServiceAccountToken: false".to_owned(),
            ),
            (
                Err(InClusterError::BadToken("/t".into())),
                Verdict::Problem,
                "the token /t is empty or no token".to_owned(),
            ),
        ] {
            let row = row(&read, NOW);
            assert_eq!((row.verdict, row.says.as_str()), (verdict, says.as_str()));
            assert_eq!(row.fix.is_none(), verdict == Verdict::Ok);
        }
    }
}
