//! Identities that open a registry, each as its cluster injects it.

use super::emulator::{
    AGENT, API, Api, ECS_AGENT, INSTANCE, PRIVATE, PUBLIC, PUBLIC_API, ROLE, STS, agent, assumed, assuming, instance,
    private, public, refusal, registry, sts,
};
use super::keys::Keys;
use super::sigv4::{self, Expected};
use super::time::Instant;
use super::{AGENT_TOKEN_FILE, AGENT_URL, NO_INSTANCE, PURPOSE, TOKEN_FILE, token, with_irsa, with_pod_identity};
use crate::server::{Answer, Request};
use crate::world::{Told, World};

/// Nobody is to be asked here.
fn nobody(request: &Request) -> Answer {
    panic!("asked {}", request.line())
}

/// The story of a success: which identity it was.
fn accepted(told: &Told, source: &str) {
    let story = told.found();
    assert!(story.contains(&format!("{source}: accepted by ")), "{source} in {story}");
}

#[test]
fn irsa_opens_a_private_registry_and_nobody_else_is_asked() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.plain(INSTANCE, nobody);
    world.plain(AGENT, nobody);
    world.file(TOKEN_FILE, &token);
    world.secure(&[STS], sts(&token, &keys));
    private(&world, &[&keys]);
    let told = with_irsa(&world, PRIVATE).told();
    accepted(&told, &format!("Amazon IRSA role {ROLE}"));
    let asked = world.asked();
    let apis: Vec<_> = asked.iter().filter(|line| line.contains(" POST ")).map(String::as_str).collect();
    assert_eq!(apis, [format!("{STS} POST /"), format!("{API} POST /")]);
}

#[test]
fn a_role_is_assumed_in_the_pods_own_region() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.file(TOKEN_FILE, &format!("{token}\n"));
    world.secure(&["sts.eu-west-1.amazonaws.com"], {
        let sts = sts(&token, &keys);
        move |request| {
            let form = assuming(request, "AssumeRoleWithWebIdentity");
            assert_eq!(form.get("RoleSessionName").map(String::as_str), Some("my-run"));
            sts(request)
        }
    });
    private(&world, &[&keys]);
    let injected = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")];
    let told = with_irsa(&world, PRIVATE).envs(&injected).env("AWS_ROLE_SESSION_NAME", "my-run").told();
    accepted(&told, &format!("Amazon IRSA role {ROLE}"));
}

#[test]
fn pod_identity_opens_a_private_registry_whatever_its_token_file_ends_with() {
    for end in ["", "\n", " \r\n"] {
        let Some(world) = World::new(PURPOSE) else { return };
        let (keys, token) = (Keys::of_role(&world, "pod"), token(&world));
        world.file(AGENT_TOKEN_FILE, &format!("{token}{end}"));
        world.plain(AGENT, agent("/v1/credentials", Some(&token), &keys));
        world.plain(INSTANCE, nobody);
        private(&world, &[&keys]);
        // A proxy must not be asked for what is on this node.
        let proxied = with_pod_identity(&world, PRIVATE).env("HTTP_PROXY", "http://127.0.0.1:9");
        accepted(&proxied.told(), "Amazon EKS Pod Identity from 169.254.170.23");
    }
}

#[test]
fn an_agent_may_be_on_localhost_and_the_images_nsswitch_is_not_believed() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "pod"), token(&world));
    world.plain("127.0.0.1:4000", agent("/x?role=1", Some(&token), &keys));
    private(&world, &[&keys]);
    let told = world
        .resolve(PRIVATE)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:4000/x?role=1")
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", &token)
        .told();
    accepted(&told, "Amazon container credentials from localhost");
}

#[test]
fn a_task_of_ecs_opens_a_private_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_role(&world, "task");
    world.plain(ECS_AGENT, agent("/v2/credentials/1234", None, &keys));
    private(&world, &[&keys]);
    let uri = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1234");
    accepted(&world.resolve(PRIVATE).envs(&[uri]).told(), "Amazon ECS task role from 169.254.170.2");
}

#[test]
fn keys_in_the_environment_open_a_private_registry() {
    for with_session in [false, true] {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = if with_session { Keys::of_role(&world, "ann") } else { Keys::of_user(&world, "ann") };
        world.plain(INSTANCE, nobody);
        private(&world, &[&keys]);
        // The values of Secrets often end with a newline.
        let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", format!("{}\n", keys.id));
        let run = run.env("AWS_SECRET_ACCESS_KEY", format!("{}\n", keys.secret));
        let run = match &keys.session {
            Some(session) => run.env("AWS_SESSION_TOKEN", format!("{session}\n")),
            None => run,
        };
        accepted(&run.told(), &format!("Amazon access key {} of the environment", keys.id));
    }
}

#[test]
fn a_profile_opens_a_private_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    world.plain(INSTANCE, nobody);
    private(&world, &[&keys]);
    let pair = format!("aws_access_key_id = {}\naws_secret_access_key = {}\n", keys.id, keys.secret);
    world.file("/tekton/home/.aws/credentials", &format!("[default]\n{pair}"));
    world.file("/aws/config", &format!("[profile ci]\n{pair}"));
    let home = ("HOME", "/tekton/home");
    accepted(&world.resolve(PRIVATE).envs(&[home]).told(), "Amazon profile default");
    let named = [home, ("AWS_CONFIG_FILE", "/aws/config"), ("AWS_PROFILE", "ci")];
    accepted(&world.resolve(PRIVATE).envs(&named).told(), "Amazon profile ci");
}

#[test]
fn a_profile_may_lead_to_a_role() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (user, role, token) = (Keys::of_user(&world, "ann"), Keys::of_role(&world, "role"), token(&world));
    private(&world, &[&role]);
    let by_web_identity = sts(&token, &role);
    let (known, given) = (user.clone(), role.clone());
    world.secure(&[STS], move |request| {
        if request.form().contains(&("Action".to_owned(), "AssumeRoleWithWebIdentity".to_owned())) {
            return by_web_identity(request);
        }
        let form = assuming(request, "AssumeRole");
        assert_eq!(form.get("RoleArn").map(String::as_str), Some(ROLE));
        let expected = Expected { keys: &known, region: "eu-central-1", service: "sts", now: Instant::now() };
        sigv4::check(request, expected).unwrap();
        assumed("AssumeRole", &given)
    });
    world.plain(INSTANCE, instance(&world, "node", &user));
    world.plain(AGENT, agent("/v1/credentials", None, &user));
    world.file(TOKEN_FILE, &token);
    let Keys { id, secret, .. } = &user;
    world.file(
        "/aws/config",
        &format!(
            "[default]\nrole_arn = {ROLE}\nsource_profile = base\n\
             [profile base]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n\
             [profile web]\nrole_arn = {ROLE}\nweb_identity_token_file = {TOKEN_FILE}\n"
        ),
    );
    for name in ["default", "web"] {
        let variables = [("AWS_CONFIG_FILE", "/aws/config"), ("AWS_PROFILE", name), NO_INSTANCE];
        accepted(&world.resolve(PRIVATE).envs(&variables).told(), &format!("Amazon profile {name}"));
    }
}

#[test]
fn a_profile_may_lead_to_what_gives_credentials_on_this_node() {
    let Some(world) = World::new(PURPOSE) else { return };
    let [on_instance, of_agent, role] = ["instance", "agent", "role"].map(|who| Keys::of_role(&world, who));
    let api = Api::private("eu-central-1", &[&of_agent, &role]);
    let agents = of_agent.clone();
    // What the agent gives is for nothing but to assume the role.
    world.secure(&[API], move |request| match api.keys(request) {
        keys if *keys == agents => refusal("AccessDeniedException", "not authorized"),
        _ => api.answer(request),
    });
    registry(&world, PRIVATE, &[&role]);
    let (known, given) = (Api::private("eu-central-1", &[&on_instance, &of_agent]), role.clone());
    world.secure(&[STS], move |request| {
        assuming(request, "AssumeRole");
        let keys = known.keys(request);
        let expected = Expected { keys, region: "eu-central-1", service: "sts", now: Instant::now() };
        sigv4::check(request, expected).unwrap();
        assumed("AssumeRole", &given)
    });
    world.plain(INSTANCE, instance(&world, "node", &on_instance));
    let token = token(&world);
    world.plain(AGENT, agent("/v1/credentials", Some(&token), &of_agent));
    world.file(AGENT_TOKEN_FILE, &format!("{token}\n"));
    let sources = ["Ec2InstanceMetadata", "EcsContainer"];
    let profiles = sources.map(|name| format!("[profile {name}]\nrole_arn = {ROLE}\ncredential_source = {name}\n"));
    world.file("/aws/config", &profiles.concat());
    let [metadata, container] = sources;
    let run = world.resolve(PRIVATE).env("AWS_CONFIG_FILE", "/aws/config").env("AWS_PROFILE", metadata);
    accepted(&run.told(), &format!("Amazon profile {metadata}"));
    let run = with_pod_identity(&world, PRIVATE).env("AWS_CONFIG_FILE", "/aws/config").env("AWS_PROFILE", container);
    accepted(&run.told(), &format!("Amazon profile {container}"));
}

#[test]
fn an_instances_role_opens_a_private_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_role(&world, "node");
    world.plain(INSTANCE, instance(&world, "node-role_1", &keys));
    private(&world, &[&keys]);
    let told = world.resolve(PRIVATE).env("HTTP_PROXY", "http://127.0.0.1:9").told();
    accepted(&told, "Amazon instance role node-role_1 from the metadata server 169.254.169.254");
    let lines: Vec<_> = world.asked_of(INSTANCE).iter().map(Request::line).collect();
    let roles = "/latest/meta-data/iam/security-credentials/";
    let expected = ["PUT /latest/api/token".to_owned(), format!("GET {roles}"), format!("GET {roles}node-role_1")];
    assert_eq!(lines, expected);
}

#[test]
fn the_public_registry_is_opened_by_way_of_its_own_api() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.file(TOKEN_FILE, &token);
    world.secure(&["sts.us-east-1.amazonaws.com"], sts(&token, &keys));
    let api = Api::public(&[&keys]);
    world.secure(&[PUBLIC_API], move |request| api.answer(request));
    public(&world, &[&keys], false);
    accepted(&with_irsa(&world, PUBLIC).told(), &format!("Amazon IRSA role {ROLE}"));
}

#[test]
fn every_kind_of_host_has_an_api_of_its_own() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_user(&world, "ann");
    for (host, api, region) in [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "api.ecr.us-east-1.amazonaws.com", "us-east-1"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "api.ecr-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("123456789012.dkr-ecr.us-east-1.on.aws", "ecr.us-east-1.api.aws", "us-east-1"),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "ecr-fips.us-east-1.api.aws", "us-east-1"),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
            "api.ecr-fips.us-gov-west-1.amazonaws.com",
            "us-gov-west-1",
        ),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            "ecr.cn-north-1.api.amazonwebservices.com.cn",
            "cn-north-1",
        ),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "api.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "api.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "api.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        (
            "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            "api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
            "eu-isoe-west-1",
        ),
        (
            "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
            "api.ecr.us-isof-south-1.csp.hci.ic.gov",
            "us-isof-south-1",
        ),
    ] {
        let answering = Api::private(region, &[&keys]);
        world.secure(&[api], move |request| answering.answer(request));
        registry(&world, host, &[&keys]);
        let run = world.resolve(host).env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
        // Where the pod is has nothing to do with where the registry is.
        let told = run.env("AWS_REGION", "sa-east-1").told();
        accepted(&told, "of the environment");
        assert_eq!(world.asked_of(api).len(), 1, "{host}");
    }
}

/// An endpoint of STS in somebody's VPC.
const STS_ENDPOINT: &str = "vpce-0a1b2c3d-x4y5.sts.eu-central-1.vpce.amazonaws.com";

#[test]
fn endpoints_that_variables_name_are_asked() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.file(TOKEN_FILE, &token);
    world.secure(&[STS_ENDPOINT], sts(&token, &keys));
    let api = Api::private("eu-central-1", &[&keys]);
    let same = api.clone();
    world.secure(&["vpce-ecr.example"], move |request| api.answer(request));
    world.plain("127.0.0.1:4566", move |request| same.answer(request));
    let public_api = Api::public(&[&keys]);
    world.secure(&["vpce-public.example"], move |request| public_api.answer(request));
    registry(&world, PRIVATE, &[&keys]);
    public(&world, &[&keys], false);
    let named_sts = ("AWS_ENDPOINT_URL_STS", format!("https://{STS_ENDPOINT}"));
    let named_sts = (named_sts.0, named_sts.1.as_str());
    let source = format!("Amazon IRSA role {ROLE}");
    let ecr = ("AWS_ENDPOINT_URL_ECR", "https://vpce-ecr.example/");
    accepted(&with_irsa(&world, PRIVATE).envs(&[named_sts, ecr]).told(), &source);
    assert_eq!(world.asked_of("vpce-ecr.example").len(), 1);
    let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566");
    accepted(&with_irsa(&world, PRIVATE).envs(&[named_sts, all]).told(), &source);
    assert_eq!(world.asked_of("127.0.0.1:4566").len(), 1);
    let named = ("AWS_ENDPOINT_URL_ECR_PUBLIC", "https://vpce-public.example");
    accepted(&with_irsa(&world, PUBLIC).envs(&[named_sts, named]).told(), &source);
    // An endpoint stays what it is for a host that would have another kind.
    let fips = "123456789012.dkr.ecr-fips.eu-central-1.amazonaws.com";
    registry(&world, fips, &[&keys]);
    accepted(&with_irsa(&world, fips).envs(&[named_sts, ecr]).told(), &source);
}

#[test]
fn a_metadata_server_that_a_variable_names_is_asked() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_role(&world, "node");
    world.plain(INSTANCE, nobody);
    world.plain("127.0.0.1:1338", instance(&world, "node", &keys));
    private(&world, &[&keys]);
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/");
    let told = world.resolve(PRIVATE).envs(&[endpoint]).told();
    accepted(&told, "Amazon instance role node from the metadata server 127.0.0.1");
}

#[test]
fn fips_and_dual_stack_can_be_asked_for_by_variables() {
    let Some(world) = World::new(PURPOSE) else { return };
    let (keys, token) = (Keys::of_role(&world, "irsa"), token(&world));
    world.file(TOKEN_FILE, &token);
    let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    world.secure(&["sts-fips.us-east-1.api.aws"], sts(&token, &keys));
    let api = Api::private("us-east-1", &[&keys]);
    world.secure(&["ecr-fips.us-east-1.api.aws"], move |request| api.answer(request));
    registry(&world, host, &[&keys]);
    let both = [("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "TRUE")];
    accepted(&with_irsa(&world, host).envs(&both).told(), &format!("Amazon IRSA role {ROLE}"));
}

#[test]
fn a_clock_that_is_an_hour_off_is_made_up_for() {
    for ahead in [-3600, 3600] {
        let Some(world) = World::new(PURPOSE) else { return };
        let keys = Keys::of_user(&world, "ann");
        let api = Api { ahead, ..Api::private("eu-central-1", &[&keys]) };
        world.secure(&[API], move |request| api.answer(request));
        registry(&world, PRIVATE, &[&keys]);
        let run = world.resolve(PRIVATE).env("AWS_ACCESS_KEY_ID", &keys.id);
        accepted(&run.env("AWS_SECRET_ACCESS_KEY", &keys.secret).told(), "of the environment");
        assert_eq!(world.asked_of(API).len(), 2, "refused for its time, then believed");
    }
}

#[test]
fn an_identity_whose_credentials_seem_to_have_ended_is_still_tried() {
    let Some(world) = World::new(PURPOSE) else { return };
    let keys = Keys::of_role(&world, "pod");
    let shown = keys.clone();
    world.plain(AGENT, move |_: &Request| {
        let (id, secret, token) = (&shown.id, &shown.secret, shown.session.as_ref().unwrap());
        Answer::json(
            serde_json::json!({"AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
                               "Expiration": Instant::now().later(-600).extended()})
            .to_string(),
        )
    });
    private(&world, &[&keys]);
    let told = world.resolve(PRIVATE).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", AGENT_URL).told();
    accepted(&told, "Amazon EKS Pod Identity from 169.254.170.23");
}
