//! Bad input: files that are none, servers that lie, variables that say half.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::emulator::{AGENT, API, Api, INSTANCE, PRIVATE, ROLE, STS, private, registry};
use super::keys::Keys;
use super::{AGENT_TOKEN_FILE, AGENT_URL, NO_INSTANCE, PURPOSE, TOKEN_FILE, token, with_irsa, with_pod_identity};
use crate::server::{Answer, Reply, Request};
use crate::world::{Told, World};

fn said(told: &Told, sentence: &str) {
    let story = told.failed();
    assert!(story.contains(sentence), "{sentence:?} in {story}");
}

/// A file of the world that is something else.
fn odd(world: &World, kind: &str, path: &str) {
    world.file(path, "");
    let outside = world.path(path);
    match kind {
        "empty" => {}
        "white space" => std::fs::write(outside, " \n").unwrap(),
        "no text" => std::fs::write(outside, [0xff, 0xfe]).unwrap(),
        "endless" => std::fs::write(outside, "x".repeat(3 << 20)).unwrap(),
        "absent" => std::fs::remove_file(outside).unwrap(),
        "FIFO" => {
            std::fs::remove_file(&outside).unwrap();
            mkfifo(&outside, Mode::from_bits_truncate(0o644)).unwrap();
        }
        "directory" => {
            std::fs::remove_file(&outside).unwrap();
            std::fs::create_dir(outside).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_token_file_that_cannot_be_used_is_named_with_the_reason() {
    for (kind, sentence) in [
        ("empty", "is empty"),
        ("white space", "is empty"),
        ("no text", "cannot be used: it is not UTF-8"),
        ("endless", "cannot be used: not read: it is larger than"),
        ("absent", "cannot be used (it is mounted when the pod is made): absent"),
        ("FIFO", "cannot be used: not read: it is not a regular file"),
        ("directory", "cannot be used: not read: it is not a regular file"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        odd(&world, kind, TOKEN_FILE);
        odd(&world, kind, AGENT_TOKEN_FILE);
        for name in [STS, API] {
            world.secure(&[name], |request: &Request| -> Answer { panic!("asked {}", request.line()) });
        }
        world.plain(AGENT, |request: &Request| -> Answer { panic!("asked {}", request.line()) });
        registry(&world, PRIVATE, &[]);
        let irsa = with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        said(&irsa, &format!("{TOKEN_FILE:?} {sentence}"));
        let pod = with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        said(&pod, &format!("{AGENT_TOKEN_FILE:?} {sentence}"));
    }
}

#[test]
fn a_token_file_that_the_steps_user_may_not_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(world) = World::new(PURPOSE) else { return };
    world.file(TOKEN_FILE, &token(&world));
    std::fs::set_permissions(world.path(TOKEN_FILE), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(world.path("/"), std::fs::Permissions::from_mode(0o755)).unwrap();
    registry(&world, PRIVATE, &[]);
    let told = with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).uid(65_532).told();
    said(&told, "(the step's user must be allowed to read it: set the pod's securityContext.fsGroup): cannot be read");
}

#[test]
fn half_an_identity_is_told() {
    for (variable, sentence) in [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY is not set, and AWS_ACCESS_KEY_ID is"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID is not set, and AWS_SECRET_ACCESS_KEY is"),
        ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE is not set, and AWS_ROLE_ARN is"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        registry(&world, PRIVATE, &[]);
        said(&world.resolve(PRIVATE).env(variable, "x").envs(&[NO_INSTANCE]).told(), sentence);
    }
}

#[test]
fn addresses_that_are_none_are_told() {
    for (variable, value, sentence) in [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/", "FULL_URI names somebody who must not be asked"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v1/credentials", "FULL_URI is no URL"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "no url at all", "AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        registry(&world, PRIVATE, &[]);
        said(&world.resolve(PRIVATE).env(variable, value).told(), sentence);
    }
    for variable in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.file(TOKEN_FILE, &token(&world));
        registry(&world, PRIVATE, &[]);
        let run = with_irsa(&world, PRIVATE).env(variable, "eu/west").env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
        said(&run.told(), &format!("{variable} names no region"));
    }
    for (name, value) in [("AWS_ENDPOINT_URL_ECR", "no url at all"), ("AWS_ENDPOINT_URL", "ftp://x")] {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = Keys::of_user(&world, "ann");
        registry(&world, PRIVATE, &[]);
        let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", &keys.id);
        let run = run.env("AWS_SECRET_ACCESS_KEY", &keys.secret).env(name, value).envs(&[NO_INSTANCE]);
        said(&run.told(), &format!("{name} is no URL: write https://HOST"));
    }
}

#[test]
fn a_token_is_shown_to_nobody_but_amazons_sts_and_what_is_on_this_node() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.file(TOKEN_FILE, &token(&world));
    world.file(AGENT_TOKEN_FILE, &token(&world));
    for name in ["evil.example", "sts.s3.amazonaws.com", "x.execute-api.eu-central-1.amazonaws.com"] {
        world.secure(&[name], |request: &Request| -> Answer { panic!("asked {}", request.line()) });
    }
    registry(&world, PRIVATE, &[]);
    let sentence = |host: &str| format!("the pod's token is not shown to {host}:443: that is neither Amazon's STS");
    for (variable, value, host) in [
        ("AWS_ENDPOINT_URL_STS", "https://evil.example", "evil.example"),
        ("AWS_ENDPOINT_URL", "https://evil.example/", "evil.example"),
        (
            "AWS_ENDPOINT_URL_STS",
            "https://x.execute-api.eu-central-1.amazonaws.com",
            "x.execute-api.eu-central-1.amazonaws.com",
        ),
        ("AWS_REGION", "s3", "sts.s3.amazonaws.com"),
    ] {
        said(&with_irsa(&world, PRIVATE).env(variable, value).envs(&[NO_INSTANCE]).told(), &sentence(host));
    }
    let web = format!("role_arn = {ROLE}\nweb_identity_token_file = {TOKEN_FILE}\n");
    let base = format!("[profile ci]\nrole_arn = {ROLE}\nsource_profile = web\n[profile web]\n{web}");
    for profiles in [
        format!("[profile ci]\n{web}endpoint_url = https://evil.example\n"),
        format!("[profile ci]\n{web}services = s\n[services s]\nsts =\n  endpoint_url = https://evil.example\n"),
        format!("{base}[profile ci]\nendpoint_url = https://evil.example\n"),
        format!("[profile ci]\n{web}region = s3\n"),
    ] {
        world.file("/aws/config", &profiles);
        let variables = [("AWS_CONFIG_FILE", "/aws/config"), ("AWS_PROFILE", "ci"), NO_INSTANCE];
        let host = if profiles.contains("s3") { "sts.s3.amazonaws.com" } else { "evil.example" };
        said(&world.resolve(PRIVATE).envs(&variables).told(), &sentence(host));
    }
    let uri = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let not_here = format!("{uri} names somebody who is not on this node, and nobody else is shown the token");
    for url in ["https://evil.example/", "https://x.execute-api.eu-central-1.amazonaws.com/"] {
        said(&with_pod_identity(&world, PRIVATE).env(uri, url).envs(&[NO_INSTANCE]).told(), &not_here);
        let value = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token(&world));
        let run = world.resolve(PRIVATE).env(uri, url).env(value.0, value.1).envs(&[NO_INSTANCE]);
        said(&run.told(), &not_here);
    }
}

#[test]
fn keys_that_no_header_may_have_are_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    registry(&world, PRIVATE, &[]);
    let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", "AKIA\nEVIL: 1");
    let run = run.env("AWS_SECRET_ACCESS_KEY", &keys.secret).envs(&[NO_INSTANCE]);
    said(&run.told(), "the access key has characters that no header may have");
    let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SESSION_TOKEN", "a\nb");
    let run = run.env("AWS_SECRET_ACCESS_KEY", &keys.secret).envs(&[NO_INSTANCE]);
    said(&run.told(), "the session token has characters that no header may have");
    let token = world.secret("a token\nof two lines");
    let run = world.resolve(PRIVATE).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", AGENT_URL);
    let run = run.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", token).envs(&[NO_INSTANCE]);
    said(&run.told(), "the token of AWS_CONTAINER_AUTHORIZATION_TOKEN has characters that no header may have");
}

/// Answers that no service of Amazon's gives: pages of a proxy, half a document, a document of another kind.
const LIES: [&str; 7] =
    ["", "<html>Sign in</html>", "{", "{}", "[]", "null", r#"{"AccessKeyId":"A","Expiration":"x"}"#];

#[test]
fn a_server_that_lies_is_told_of() {
    for lie in LIES {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = Keys::of_user(&world, "ann");
        world.file(TOKEN_FILE, &token(&world));
        world.file(AGENT_TOKEN_FILE, &token(&world));
        for name in [STS, API] {
            world.secure(&[name], move |_: &Request| Answer::new(200).body(lie));
        }
        world.plain(AGENT, move |_: &Request| Answer::new(200).body(lie));
        world.plain(INSTANCE, move |request: &Request| match request.method.as_str() {
            "PUT" => Answer::new(200).header("x-aws-ec2-metadata-token-ttl-seconds", "60").body("token-token"),
            _ => Answer::new(200).body(lie),
        });
        registry(&world, PRIVATE, &[]);
        let is_not = |host: &str, service: &str| format!("the answer of {host} is not one of {service}");
        let irsa = with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        said(&irsa, &is_not(&format!("{STS}:443"), "STS"));
        let pod = with_pod_identity(&world, PRIVATE).envs(&[NO_INSTANCE]).told();
        said(&pod, &is_not("169.254.170.23:80", "the agent of the container's credentials"));
        said(&world.resolve(PRIVATE).told(), &is_not("169.254.169.254:80", "Amazon's metadata server"));
        let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", &keys.id);
        let run = run.env("AWS_SECRET_ACCESS_KEY", &keys.secret).envs(&[NO_INSTANCE]);
        said(&run.told(), &is_not(&format!("{API}:443"), "the API of ECR"));
    }
}

#[test]
fn a_metadata_server_that_lies_of_a_role_or_a_token_is_told_of() {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    for (token, ttl, role, keys) in [
        ("a\ntoken", Some("60"), "", ""),
        ("token-token", Some("soon"), "", ""),
        ("token-token", None, "", ""),
        ("token-token", Some("60"), "../../user-data", ""),
        ("token-token", Some("60"), "node", "<html>"),
        ("token-token", Some("60"), "node", r#"{"Code":"Success"}"#),
        ("token-token", Some("60"), "node", r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot"}"#),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.plain(INSTANCE, move |request: &Request| {
            match (request.method.as_str(), request.target.ends_with('/')) {
                ("PUT", _) => ttl.iter().fold(Answer::new(200).body(token), |answer, ttl| answer.header(TTL, *ttl)),
                (_, true) => Answer::new(200).body(role),
                (_, false) => Answer::new(200).body(keys),
            }
        });
        registry(&world, PRIVATE, &[]);
        said(&world.resolve(PRIVATE).told(), "the answer of 169.254.169.254:80 is not one of Amazon's metadata server");
    }
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.file(TOKEN_FILE, &token(&world));
    let endless = || Reply::Endless(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n".to_vec(), vec![b'x'; 4096]);
    world.secure(&[STS], move |_: &Request| endless());
    world.plain(INSTANCE, move |_: &Request| endless());
    registry(&world, PRIVATE, &[]);
    said(&with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told(), "the answer is longer than");
    said(&world.resolve(PRIVATE).told(), "the answer is longer than");
}

#[test]
fn nobody_is_led_elsewhere() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.file(TOKEN_FILE, &token(&world));
    world.secure(&["evil.example"], |request: &Request| -> Answer { panic!("asked {}", request.line()) });
    world.secure(&[STS], |_: &Request| Answer::new(307).header("Location", "https://evil.example/"));
    registry(&world, PRIVATE, &[]);
    said(&with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE]).told(), &format!("{STS}:443 refuses: 307"));
}

#[test]
fn what_was_shown_is_not_repeated() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "pod"), token(&world));
    world.file(TOKEN_FILE, &token);
    world.file(AGENT_TOKEN_FILE, &token);
    let echo = token.clone();
    world.secure(&[STS], move |_: &Request| {
        super::emulator::sts_refusal(400, "InvalidIdentityToken", &format!("the token {echo} is not valid"))
    });
    world.plain(AGENT, move |_: &Request| Answer::new(403).body(format!("the token {token} is not valid")));
    let session = keys.session.clone().unwrap();
    world.secure(&[API], move |_: &Request| {
        super::emulator::refusal("UnrecognizedClientException", &format!("the token {session} is not valid"))
    });
    registry(&world, PRIVATE, &[]);
    let told = with_irsa(&world, PRIVATE)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", AGENT_URL)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AGENT_TOKEN_FILE)
        .env("AWS_ACCESS_KEY_ID", &keys.id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret)
        .env("AWS_SESSION_TOKEN", keys.session.as_ref().unwrap())
        .envs(&[NO_INSTANCE])
        .told();
    assert_eq!(told.failed().matches("the token (a secret) is not valid").count(), 6, "{told:#?}");
}

#[test]
fn a_registry_that_repeats_its_password_is_not_repeated() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    let api = Api::private("eu-central-1", &[&keys]);
    world.secure(&[API], move |request| api.answer(request));
    let (password, asked) = (keys.password.clone(), AtomicUsize::new(0));
    world.registry(PRIVATE, move |request| {
        if request.header("Authorization").is_none() {
            return Some(Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let hex = || password.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let forms =
            [password.clone(), STANDARD.encode(&password), hex(), password.to_uppercase(), password[..20].to_owned()];
        let said = forms.get(asked.fetch_add(1, Ordering::SeqCst)).cloned().unwrap_or_default();
        Some(Answer::json(json!({"errors": [{"code": "DENIED", "message": said}]}).to_string()).with_status(403))
    });
    for _ in 0..5 {
        let variables = [("AWS_ACCESS_KEY_ID", keys.id.as_str()), ("AWS_SECRET_ACCESS_KEY", &keys.secret)];
        let told = world.resolve(PRIVATE).envs(&[NO_INSTANCE]).envs(&variables).told();
        assert!(told.failed().contains("(what it says holds a secret)"), "{told:#?}");
    }
}

#[test]
fn a_profile_that_cannot_be_used_is_told() {
    for (config, sentence) in [
        ("[profile other]\n", r#"the profile "ci" has no credentials in /aws/config"#),
        ("[profile ci]\nregion = eu-west-1\n", r#"the profile "ci" has no credentials in /aws/config"#),
        ("[profile ci]\ncredential_process = /bin/evil\n", "names a program to run, in credential_process: "),
        ("[profile ci]\nsso_session = s\n[sso-session s]\nsso_region = r\n", "names a sign-in (SSO), in sso_session: "),
        ("[profile ci]\nlogin_session = arn:x\n", "names a sign-in, in login_session: "),
        (
            "[profile ci]\nrole_arn = r\nsource_profile = b\n[profile b]\ncredential_process = /bin/evil\n",
            r#"names a program to run in its source "b", in credential_process"#,
        ),
        ("[profile ci]\nrole_arn = r\nsource_profile = gone\n", r#"the profile "ci" "#),
        (
            "[profile ci]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = ci\n",
            "infinite loop",
        ),
        ("[profile ci]\nrole_arn = r\n", "profile must contain `source_profile` or `credential_source`"),
        ("[profile ci\n", r#"the profile "ci" cannot be read: "#),
        ("[profile ci]\naws_access_key_id\n", r#"the profile "ci" cannot be read: "#),
        (
            "[profile ci]\nrole_arn = r\ncredential_source = EcsContainer\n",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set",
        ),
        ("[profile ci]\nrole_arn = r\ncredential_source = Ec2InstanceMetadata\n", "AWS_EC2_METADATA_DISABLED is true"),
        (
            "[profile ci]\nrole_arn = r\ncredential_source = Environment\n",
            "AWS_ACCESS_KEY_ID is not set, and the profile",
        ),
        (
            "[profile ci]\naws_access_key_id = A\u{1}\naws_secret_access_key = s\n",
            "the access key has characters that no",
        ),
        ("[profile ci]\nregion = a b\n", r#"the profile "ci" has a region that is none"#),
        (
            "[profile ci]\nrole_arn = r\nweb_identity_token_file = /fifo\n",
            r#"the token file "/fifo" cannot be used: not read"#,
        ),
        (
            "[profile ci]\nrole_arn = r\nweb_identity_token_file = /gone\n",
            r#"the token file "/gone" cannot be used (it is mounted when the pod is made): absent"#,
        ),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.file("/aws/config", config);
        odd(&world, "FIFO", "/fifo");
        registry(&world, PRIVATE, &[]);
        let variables = [("AWS_CONFIG_FILE", "/aws/config"), ("AWS_PROFILE", "ci"), NO_INSTANCE];
        said(&world.resolve(PRIVATE).envs(&variables).told(), sentence);
    }
}

#[test]
fn a_profiles_file_that_cannot_be_used_is_told_and_the_next_identity_asked() {
    for (kind, sentence) in [
        ("no text", "it is not UTF-8"),
        ("endless", "it is larger than"),
        ("FIFO", "it is not a regular file"),
        ("directory", "it is not a regular file"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = Keys::of_role(&world, "node");
        odd(&world, kind, "/home/ci/.aws/config");
        world.plain(INSTANCE, super::emulator::instance(&world, "node", &keys));
        private(&world, &[&keys]);
        let told = world.resolve(PRIVATE).env("HOME", "/home/ci").told();
        let story = told.found();
        assert!(story.contains("Amazon profile default: ") && story.contains(sentence), "{story}");
    }
}

#[test]
fn files_of_a_home_that_say_nothing_of_credentials_are_not_told_of() {
    for content in [None, Some(""), Some("[default]\nregion = eu-west-1\n"), Some("[profile other]\nregion = x\n")] {
        let Some(world) = World::new(PURPOSE) else { return };
        if let Some(content) = content {
            world.file("/home/ci/.aws/config", content);
        }
        registry(&world, PRIVATE, &[]);
        let story = world.resolve(PRIVATE).env("HOME", "/home/ci").envs(&[NO_INSTANCE]).told().failed();
        assert!(!story.contains("profile"), "{story}");
    }
}

#[test]
fn a_role_that_a_profile_may_not_assume_is_told() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    let (id, secret) = (&keys.id, &keys.secret);
    let base = format!("[profile base]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    world.file("/aws/config", &format!("[default]\nrole_arn = {ROLE}\nsource_profile = base\n{base}"));
    world.secure(&[STS], |_: &Request| super::emulator::sts_refusal(403, "AccessDenied", "ann may not"));
    registry(&world, PRIVATE, &[]);
    let told = world.resolve(PRIVATE).env("AWS_CONFIG_FILE", "/aws/config").envs(&[NO_INSTANCE]).told();
    said(
        &told,
        &format!("Amazon profile default: {STS}:443 refuses: 403: AccessDenied: ann may not (the trust policy of"),
    );
}

#[test]
fn an_endpoint_that_is_no_url_is_told_without_the_token_that_would_have_gone_there() {
    for (variable, value, sentence) in [
        ("AWS_ENDPOINT_URL", "localhost:4566", "AWS_ENDPOINT_URL is no URL: write https://HOST"),
        ("AWS_ENDPOINT_URL_STS", "sts.example", "AWS_ENDPOINT_URL_STS is no URL: write https://HOST"),
        ("AWS_ENDPOINT_URL", "https://u:p@h.example", "AWS_ENDPOINT_URL has a user or a password in it"),
        ("AWS_ENDPOINT_URL_STS", "https://sts.amazonaws.com@evil.example", "AWS_ENDPOINT_URL_STS has a user or"),
        ("AWS_ENDPOINT_URL", "http://u:pass@e vil", "AWS_ENDPOINT_URL is no URL"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        world.file(TOKEN_FILE, &token(&world));
        registry(&world, PRIVATE, &[]);
        let told = with_irsa(&world, PRIVATE).envs(&[NO_INSTANCE, (variable, value)]).told();
        said(&told, sentence);
        assert!(!told.failed().contains("SdkBody"), "{told:?}");
    }
}
