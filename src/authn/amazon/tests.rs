//! Which identities a pod's variables speak of.

use super::*;

fn shown(variables: &[(&str, &str)]) -> Vec<String> {
    let env: Env = variables.iter().copied().collect();
    sources(&env, &AmazonRegistry::Public).iter().map(ToString::to_string).collect()
}

const METADATA_SERVER: &str = "Amazon metadata server 169.254.169.254";

#[test]
fn injected_identities_stand_before_the_metadata_server() {
    let everything = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
        ("HOME", "/tekton/home"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/ci"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ];
    assert_eq!(
        shown(&everything),
        [
            "Amazon access key AKIDEXAMPLE of the environment",
            "Amazon IRSA role arn:aws:iam::1:role/ci",
            "Amazon EKS Pod Identity from 169.254.170.23",
            "Amazon profile default",
            METADATA_SERVER,
        ]
    );
}

#[test]
fn a_source_is_there_if_its_variables_are() {
    let disabled = ("AWS_EC2_METADATA_DISABLED", "TRUE");
    for (variables, expected) in [
        (&[][..], &[METADATA_SERVER][..]),
        (&[disabled], &[]),
        (&[("AWS_EC2_METADATA_DISABLED", "no")], &[METADATA_SERVER]),
        (&[disabled, ("AWS_ACCESS_KEY_ID", "A")], &["Amazon access key of the environment"]),
        (&[disabled, ("AWS_SECRET_ACCESS_KEY", "s")], &["Amazon access key of the environment"]),
        (&[disabled, ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", " \n")], &[]),
        (&[disabled, ("AWS_ROLE_ARN", "r")], &["Amazon IRSA role"]),
        (&[disabled, ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], &["Amazon IRSA role"]),
        (
            &[disabled, (RELATIVE_URI, "/v2/credentials/1"), (FULL_URI, "http://127.0.0.1/")],
            &["Amazon ECS task role from 169.254.170.2"],
        ),
        (
            &[disabled, (FULL_URI, "http://[fd00:ec2::23]/v1/credentials")],
            &["Amazon EKS Pod Identity from [fd00:ec2::23]"],
        ),
        (&[disabled, (FULL_URI, "http://127.0.0.1:4000/")], &["Amazon container credentials from 127.0.0.1"]),
        (&[disabled, ("AWS_PROFILE", "ci")], &[]),
        (&[disabled, ("AWS_PROFILE", "ci"), ("HOME", "/root")], &["Amazon profile ci"]),
        (&[disabled, ("AWS_CONFIG_FILE", "/aws/config")], &["Amazon profile default"]),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")], &["Amazon metadata server [fd00:ec2::254]"]),
        (&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://10.0.0.1:80")], &["Amazon metadata server 10.0.0.1"]),
    ] {
        assert_eq!(shown(variables), expected, "{variables:?}");
    }
}

#[test]
fn a_key_has_no_white_space_around_it() {
    let env: Env = [("AWS_ACCESS_KEY_ID", "A\n"), ("AWS_SECRET_ACCESS_KEY", " s\n"), ("AWS_SESSION_TOKEN", "\n")]
        .into_iter()
        .collect();
    let expected = Keys { id: "A".to_owned(), secret: Secret::new("s".to_owned()), session: None };
    assert_eq!(keys(&env), Some(Identity::Keys(expected)));
}

#[test]
fn a_profiles_files_are_where_variables_or_the_home_say() {
    let paths = |variables: &[(&str, &str)]| {
        let env: Env = variables.iter().copied().collect();
        let files = profile(&env).map(|profile| profile.files).unwrap_or_default();
        files.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>()
    };
    let home = ("HOME", "/h");
    for (variables, expected) in [
        (&[][..], &[][..]),
        (&[home], &["/h/.aws/config", "/h/.aws/credentials"]),
        (&[home, (CONFIG_FILE, "~/c")], &["/h/c", "/h/.aws/credentials"]),
        (&[(CREDENTIALS_FILE, "/c")], &["/c"]),
        (&[(CREDENTIALS_FILE, "~/c")], &["~/c"]),
    ] {
        assert_eq!(paths(variables), expected, "{variables:?}");
    }
}

#[test]
fn a_source_that_is_printed_for_debugging_tells_no_secret() {
    let env: Env = [
        ("AWS_ACCESS_KEY_ID", "A"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2"),
        (FULL_URI, "http://127.0.0.1/"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hunter2"),
        ("HOME", "/h"),
    ]
    .into_iter()
    .collect();
    let shown = format!("{:?}", sources(&env, &AmazonRegistry::Public));
    assert!(!shown.contains("hunter2"), "{shown}");
}
