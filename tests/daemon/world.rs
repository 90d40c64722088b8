//! What the tests of the daemon share: what a daemon answers, and `resolve` asked with an environment.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::oci::architecture;
use super::server::{Answer, Bound, Exchange, Server, on};
use super::step;

/// What a run left.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    /// The story, of a lookup that must succeed.
    pub(crate) fn story(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// The last line of stderr, of a lookup that must fail.
    pub(crate) fn sentence(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.stderr.lines().last().expect("a sentence").to_owned()
    }
}

/// Asks the daemon that this environment names, by `resolve IMAGE -source docker` and more flags.
pub(crate) fn resolve(image: &str, env: &[(&str, &str)], more: &[&str]) -> Told {
    told(command(&["resolve", image, "-source", "docker"], env).args(more))
}

/// The program with an environment and nothing else.
pub(crate) fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(step::entrypoint());
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub(crate) fn told(command: &mut Command) -> Told {
    let output = command.output().expect("the program runs");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    Told { code: output.status.code(), stdout, stderr }
}

/// The story with `N ms` for every time.
pub(crate) fn without_times(story: &str) -> String {
    let line = |line: &str| match line.split_once(" ms") {
        Some((before, rest)) => {
            format!("{} N ms{rest}", before.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end())
        }
        None => line.to_owned(),
    };
    story.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A digest of one letter.
pub(crate) fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// What Docker says of an image of its own, tagged `team/tool:1`.
pub(crate) fn image() -> Value {
    json!({
        "Id": digest('a'), "RepoTags": ["team/tool:1"], "RepoDigests": [], "Os": "linux",
        "Architecture": architecture(), "Size": 7,
        "Config": {"Entrypoint": ["/bin/tool"], "Cmd": ["--all", "a b"]},
    })
}

/// The engine's answer to a ping.
pub(crate) fn pong(version: &str) -> Answer {
    Answer::new(200).header("Api-Version", version).header("Content-Type", "text/plain; charset=utf-8").body("OK")
}

/// A failure in the engine's words.
pub(crate) fn failure(status: u16, message: &str) -> Answer {
    let body = json!({"message": message}).to_string();
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

/// The two requests for `team/tool:1` of a daemon of version 1.41.
pub(crate) fn asked_for_the_image(reply: impl Into<super::server::Reply>) -> Vec<Exchange> {
    let mut reply = Some(reply.into());
    vec![
        on("GET", "/_ping", |_| pong("1.41")),
        on("GET", "/v1.41/images/docker.io/team/tool:1/json", move |_| reply.take().expect("asked once")),
    ]
}

/// A daemon on plain http.
pub(crate) fn daemon(script: Vec<Exchange>) -> Server {
    Server::scripted(Bound::new(), None, script)
}

/// `DOCKER_HOST` of a server.
pub(crate) fn address(server: &Server) -> String {
    format!("tcp://{}", server.host())
}
