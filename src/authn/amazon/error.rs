//! Why an identity of Amazon's has no credential, in sentences.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::date_time::{DateTime, Format};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::sdk::{Told, Unasked};
use crate::authn::cloud::{CloudHttpError, Hung};
use crate::authn::file::FileError;
use crate::image::shown;

/// The longest text of a service that is told, in characters.
const TEXT: usize = 400;
/// Two clocks that differ by less than this agree.
const AGREEING: Duration = Duration::from_secs(120);
/// What the services call too many requests.
const THROTTLED: [&str; 6] = [
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum AmazonError {
    /// The variables do not say what is meant.
    #[error("{variable} {why}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A token file cannot be read.
    #[error("the token file {path:?} cannot be used{advice}")]
    TokenFile {
        /// The file.
        path: String,
        /// What to do about it.
        advice: &'static str,
        /// Why.
        source: FileError,
    },
    /// What is to be a token is none.
    #[error("the token of {origin} {why}")]
    Token {
        /// Where it was found.
        origin: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A profile's file cannot be read.
    #[error("the file {path:?} cannot be used")]
    ProfileFile {
        /// The file.
        path: String,
        /// Why.
        source: FileError,
    },
    /// A profile has nothing that can be used.
    #[error("the profile {name:?} {why}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Keys that cannot be sent.
    #[error("the {what} has characters that no header may have")]
    Keys {
        /// Which part of them.
        what: &'static str,
    },
    /// Nobody answered in time.
    #[error("{hung}{advice}")]
    Hung {
        /// Who, and how long.
        hung: Hung,
        /// What it usually means.
        advice: &'static str,
    },
    /// Nobody answered.
    #[error("{service} cannot be asked{advice}")]
    Unanswered {
        /// Who was asked.
        service: Service,
        /// What it usually means.
        advice: &'static str,
        /// Why.
        source: Box<CloudHttpError>,
    },
    /// Somebody else would have been shown the pod's token.
    #[error(
        "the pod's token is not shown to {host}: that is neither Amazon's STS over https nor this machine \
         (AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, AWS_REGION and a profile's endpoint_url decide who is asked)"
    )]
    Elsewhere {
        /// Whom the environment or a profile names.
        host: String,
    },
    /// The service refuses.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The answer is not what the service answers.
    #[error("the answer of {host} is not one of {service}{why}")]
    Unusable {
        /// Who answered.
        host: String,
        /// Who should have.
        service: Service,
        /// What is wrong with it.
        why: String,
    },
    /// The request could not even be made.
    #[error("{service} cannot be asked: {why}")]
    Unaskable {
        /// Who was to be asked.
        service: Service,
        /// Why not.
        why: String,
    },
}

/// A service that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authn) enum Service {
    /// The security token service, for this role.
    Sts {
        /// The role, if it is known.
        role: Option<String>,
    },
    /// The registry's API.
    Ecr,
    /// That of the public registry.
    EcrPublic,
    /// The instance's metadata server.
    Instance,
    /// The agent of a container's credentials.
    Container,
}

/// A refusal, in the service's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authn) struct Refused {
    /// Who refuses.
    pub(super) host: String,
    /// The HTTP status.
    pub(super) status: u16,
    /// The service's name for it.
    pub(super) code: Option<String>,
    /// The service's words.
    pub(super) message: Option<String>,
    /// What to do about it.
    pub(super) advice: String,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sts { .. } => "STS",
            Self::Ecr => "the API of ECR",
            Self::EcrPublic => "the API of ECR Public",
            Self::Instance => "Amazon's metadata server",
            Self::Container => "the agent of the container's credentials",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = if self.status >= 500 { "fails" } else { "refuses" };
        write!(f, "{} {does}: {}", self.host, self.status)?;
        for word in self.code.iter().chain(&self.message) {
            write!(f, ": {}", shown(word.trim(), TEXT))?;
        }
        f.write_str(&self.advice)
    }
}

impl AmazonError {
    /// Whether time may mend it.
    pub(in crate::authn) fn is_passing(&self) -> bool {
        match self {
            Self::Hung { .. } | Self::Unanswered { .. } => true,
            Self::Refused(refused) => refused.is_passing(),
            // Whoever answers in a service's place may go, and a token be put where it belongs; but not within the few
            // seconds that an attempt has.
            Self::Variable { .. }
            | Self::TokenFile { .. }
            | Self::Token { .. }
            | Self::ProfileFile { .. }
            | Self::Profile { .. }
            | Self::Keys { .. }
            | Self::Elsewhere { .. }
            | Self::Unusable { .. }
            | Self::Unaskable { .. } => false,
        }
    }

    /// What an error of the SDK means.
    pub(super) fn of<E>(service: Service, error: &SdkError<E, HttpResponse>, told: Told, now: SystemTime) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (code, message) = (error.code(), error.message());
        Self::told(service, code, message, told, now).unwrap_or_else(|service| Self::Unaskable {
            service,
            // Nothing was sent: the settings are wrong. The library's own words would repeat the whole request, the pod's
            // token in its body among it.
            why: "the AWS_ENDPOINT_URL, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT variables may not fit \
                  together, or name no host"
                .to_owned(),
        })
    }

    /// What is known once a request was made; else the service again.
    pub(super) fn told(
        service: Service,
        code: Option<&str>,
        message: Option<&str>,
        told: Told,
        now: SystemTime,
    ) -> Result<Self, Service> {
        let Told { host, status, date, failure } = told;
        let status = match failure {
            Some(Unasked::Elsewhere) => return Ok(Self::Elsewhere { host: host.unwrap_or_default() }),
            Some(Unasked::Unanswered(source)) => {
                let source = Box::new(source);
                return Ok(Self::Unanswered { advice: service.if_silent(), service, source });
            }
            None => status,
        };
        let (Some(host), Some(status)) = (host, status) else { return Err(service) };
        if code.is_none() && (200..300).contains(&status) {
            return Ok(Self::Unusable { host, service, why: String::new() });
        }
        let advice = service.advice(status, code, skew(date.as_deref(), now));
        let [code, message] = [code, message].map(|word| word.map(str::to_owned));
        Ok(Self::Refused(Box::new(Refused { host, status, code, message, advice })))
    }
}

impl Refused {
    fn is_passing(&self) -> bool {
        self.status == 429
            || self.status >= 500
            || self.code.as_deref().is_some_and(|code| THROTTLED.contains(&code) || code == "IDPCommunicationError")
    }
}

impl Service {
    /// What silence usually means.
    pub(super) fn if_silent(&self) -> &'static str {
        match self {
            Self::Instance => {
                " (from a pod it can be asked only where the instance's hop limit is 2 and no policy forbids it; \
                 give the service account a role instead, by IRSA or EKS Pod Identity)"
            }
            Self::Container => " (on EKS: is the add-on eks-pod-identity-agent running on this node?)",
            Self::Sts { .. } | Self::Ecr | Self::EcrPublic => "",
        }
    }

    /// What to do about a refusal.
    fn advice(&self, status: u16, code: Option<&str>, skew: Option<Skew>) -> String {
        let code = code.unwrap_or("");
        if status == 429 || status >= 500 || THROTTLED.contains(&code) {
            return String::new();
        }
        let advice = match (self, code) {
            (Self::Sts { role }, "AccessDenied" | "AccessDeniedException") => {
                let role = role.as_deref().unwrap_or("the role");
                format!(
                    "the trust policy of {role} must allow it to this cluster's OIDC provider, with this service \
                     account as its sub and sts.amazonaws.com as its aud"
                )
            }
            (Self::Sts { .. }, "InvalidIdentityToken" | "IDPRejectedClaim") => {
                "the role's account must have an IAM OIDC provider for this cluster, and the token the audience \
                 sts.amazonaws.com"
                    .to_owned()
            }
            (Self::Sts { .. }, "ExpiredToken" | "ExpiredTokenException") => {
                "the kubelet renews the token that it mounts: a copy of it expires".to_owned()
            }
            (Self::Ecr, "AccessDenied" | "AccessDeniedException") => {
                "the identity needs the permission ecr:GetAuthorizationToken for the resource *".to_owned()
            }
            (Self::EcrPublic, "AccessDenied" | "AccessDeniedException") => {
                "the identity needs the permissions ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken \
                 for the resource *"
                    .to_owned()
            }
            (Self::Ecr | Self::EcrPublic, "ExpiredToken" | "ExpiredTokenException") => {
                "these credentials are no longer valid".to_owned()
            }
            (_, "UnrecognizedClientException" | "InvalidClientTokenId") => {
                "there is no such access key, or its session token is not the right one".to_owned()
            }
            (
                _,
                "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "RequestTimeTooSkewed"
                | "RequestExpired"
                | "InvalidSignature",
            ) => match skew {
                Some(skew) => return format!(" ({skew})"),
                None => "the secret access key is not that of the access key, or this node's clock is off".to_owned(),
            },
            (Self::Instance, _) if status == 404 => "this instance has no role, or is none of Amazon's".to_owned(),
            (Self::Instance, _) => "is this a node of Amazon's? pods may be forbidden to ask".to_owned(),
            (Self::Container, _) if matches!(status, 401 | 403) => {
                "the token must have the audience pods.eks.amazonaws.com, and the service account an EKS Pod Identity \
                 association"
                    .to_owned()
            }
            _ => String::new(),
        };
        match (advice.is_empty(), skew) {
            (true, None) => String::new(),
            (true, Some(skew)) => format!(" ({skew})"),
            (false, None) => format!(" ({advice})"),
            (false, Some(skew)) => format!(" ({advice}; {skew})"),
        }
    }
}

/// How far this node's clock is from a service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    ahead: bool,
    by: Duration,
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.ahead { "ahead of" } else { "behind" };
        write!(f, "this node's clock is {} minutes {way} the service's: set it", self.by.as_secs() / 60)
    }
}

/// How far the clock is from that of whoever sent this `Date`, if it is far.
fn skew(date: Option<&str>, now: SystemTime) -> Option<Skew> {
    let theirs = SystemTime::try_from(DateTime::from_str(date?, Format::HttpDate).ok()?).ok()?;
    let (ahead, by) = match now.duration_since(theirs) {
        Ok(by) => (true, by),
        Err(behind) => (false, behind.duration()),
    };
    (by > AGREEING).then_some(Skew { ahead, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(service: Service, status: u16, code: Option<&str>, date: Option<&str>) -> AmazonError {
        // Sat, 21 Nov 2026 17:00:00 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_280_400);
        let told =
            Told { host: Some("h:443".to_owned()), status: Some(status), date: date.map(str::to_owned), failure: None };
        AmazonError::told(service, code, Some("their words"), told, now).unwrap()
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let sts = || Service::Sts { role: Some("arn:r".to_owned()) };
        for (service, status, code, expected) in [
            (sts(), 403, "AccessDenied", "the trust policy of arn:r must"),
            (sts(), 400, "InvalidIdentityToken", "audience sts.amazonaws.com"),
            (sts(), 400, "ExpiredTokenException", "the kubelet renews"),
            (Service::Ecr, 400, "AccessDeniedException", "permission ecr:GetAuthorizationToken "),
            (Service::EcrPublic, 400, "AccessDeniedException", "ecr-public:GetAuthorizationToken and sts:GetService"),
            (Service::Ecr, 400, "ExpiredTokenException", "no longer valid"),
            (Service::Ecr, 400, "UnrecognizedClientException", "no such access key"),
            (Service::Ecr, 400, "InvalidSignatureException", "secret access key is not that"),
        ] {
            let error = refused(service, status, Some(code), None);
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("h:443 refuses: {status}: {code}: their words (")), "{shown}");
            assert!(shown.contains(expected), "{shown}");
            assert!(!error.is_passing(), "{shown}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_where_it_matters() {
        for (date, expected) in [
            ("Sat, 21 Nov 2026 18:00:00 GMT", Some("this node's clock is 60 minutes behind the service's")),
            ("Sat, 21 Nov 2026 16:30:00 GMT", Some("this node's clock is 30 minutes ahead of the service's")),
            ("Sat, 21 Nov 2026 17:01:00 GMT", None),
            ("yesterday", None),
        ] {
            let shown = refused(Service::Ecr, 400, Some("InvalidSignatureException"), Some(date)).to_string();
            assert_eq!(shown.contains(" minutes "), expected.is_some(), "{shown}");
            assert!(shown.contains(expected.unwrap_or("secret access key")), "{shown}");
        }
    }

    #[test]
    fn what_may_pass_is_known() {
        for (status, code, passing) in [
            (500, None, true),
            (503, Some("ServiceUnavailable"), true),
            (429, None, true),
            (400, Some("ThrottlingException"), true),
            (400, Some("IDPCommunicationError"), true),
            (400, Some("AccessDeniedException"), false),
            (404, None, false),
        ] {
            let error = refused(Service::Sts { role: None }, status, code, None);
            assert_eq!(error.is_passing(), passing, "{error}");
        }
        let hung = Hung { whom: "h".to_owned(), limit: Duration::from_secs(3) };
        assert!(AmazonError::Hung { hung, advice: "" }.is_passing());
    }

    #[test]
    fn an_answer_that_is_none_is_told_and_a_long_one_is_cut() {
        let odd = refused(Service::Ecr, 200, None, None).to_string();
        assert_eq!(odd, "the answer of h:443 is not one of the API of ECR");
        let told = Told { host: Some("h:443".to_owned()), status: Some(400), ..Told::default() };
        let long = AmazonError::told(Service::Ecr, Some("C"), Some(&"x".repeat(5000)), told, SystemTime::now());
        assert!(long.unwrap().to_string().len() < 600);
    }
}
