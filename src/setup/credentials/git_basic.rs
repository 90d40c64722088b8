//! `.gitconfig` and `.git-credentials`: names and passwords for git servers.

use super::super::call::CallError;
use super::files;
use super::git_url::{self, GitUrl, UrlError};
use super::mounted::Login;
use crate::go_path;
use crate::host::Dirs;
use crate::quote::Quoted;

/// The logins that are asked for, in the order of the flags.
#[derive(Default)]
pub(super) struct GitBasic {
    /// As they were written on the command line.
    urls: Vec<String>,
    servers: Vec<Server>,
}

/// A login for a server or for a repository on it.
struct Server {
    /// What git's configuration calls it.
    context: String,
    url: GitUrl,
    login: Login,
}

impl GitBasic {
    /// Whether there is a login for this URL already.
    pub(super) fn has(&self, url: &str) -> bool {
        self.urls.iter().any(|known| known == url)
    }

    /// Adds a login.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub(super) fn add(&mut self, url: &str, login: Login) -> Result<(), UrlError> {
        let (context, parsed) = git_url::server(url)?;
        self.urls.push(url.to_owned());
        self.servers.push(Server { context, url: parsed, login });
        Ok(())
    }

    /// Writes both files, unless there is no login.
    pub(super) fn write(&self, dirs: &Dirs) -> Result<(), CallError> {
        if self.servers.is_empty() {
            return Ok(());
        }
        files::write(&go_path::join(&dirs.creds, ".gitconfig"), &self.config())?;
        files::write(&go_path::join(&dirs.creds, ".git-credentials"), self.store().as_bytes())
    }

    fn config(&self) -> Vec<u8> {
        let mut config = b"[credential]\n\thelper = store\n".to_vec();
        for Server { context, url, login } in &self.servers {
            config
                .extend_from_slice(format!("[credential {}]\n\tusername = ", Quoted::to_the_byte(context)).as_bytes());
            config.extend(value(&login.username));
            config.push(b'\n');
            if url.has_path() {
                // Else git would not tell the repositories of one server apart.
                config.extend_from_slice(b"\tuseHttpPath = true\n");
            }
        }
        config
    }

    /// Whole servers first: git takes the first line that fits, and for a URL with `useHttpPath` only those with its path
    /// do.
    fn store(&self) -> String {
        let (below, whole): (Vec<&Server>, Vec<&Server>) =
            self.servers.iter().partition(|server| server.url.has_path());
        let line = |server: &Server| server.url.with_user(&server.login.username, &server.login.password) + "\n";
        whole.into_iter().chain(below).map(line).collect()
    }
}

/// A value of git's configuration: Tekton's form, or in quotes where git would read another name than that.
/// <https://git-scm.com/docs/git-config#_syntax>
fn value(name: &[u8]) -> Vec<u8> {
    let odd = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'#' | b';');
    let quoted = name.iter().any(odd) || name.starts_with(b" ") || name.ends_with(b" ");
    let mut value = Vec::with_capacity(name.len());
    value.extend(quoted.then_some(b'"'));
    for &byte in name {
        match byte {
            b'\\' => value.extend_from_slice(b"\\\\"),
            b'"' => value.extend_from_slice(b"\\\""),
            b'\n' => value.extend_from_slice(b"\\n"),
            b'\t' => value.extend_from_slice(b"\\t"),
            b'\x08' => value.extend_from_slice(b"\\b"),
            _ => value.push(byte),
        }
    }
    value.extend(quoted.then_some(b'"'));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(rows: &[(&str, &[u8], &[u8])]) -> GitBasic {
        let mut logins = GitBasic::default();
        for (url, username, password) in rows {
            logins.add(url, Login { username: username.to_vec(), password: password.to_vec() }).unwrap();
        }
        logins
    }

    #[test]
    fn the_files_have_tektons_bytes() {
        let logins = logins(&[
            ("https://github.com/org/repo.git", b"ua", b"pa"),
            ("https://github.com", br"dom\me", b"p@:/?#% !*()[]$&+,;=~"),
            ("http://h:8080/", b"", b""),
            ("https://h/a\"b#f\u{1}", b"\xff", b"\xff"),
        ]);
        assert_eq!(
            logins.config(),
            b"[credential]\n\thelper = store\n\
              [credential \"https://github.com/org/repo.git\"]\n\tusername = ua\n\tuseHttpPath = true\n\
              [credential \"https://github.com\"]\n\tusername = dom\\\\me\n\
              [credential \"http://h:8080/\"]\n\tusername = \n\
              [credential \"https://h/a\\\"b#f\\x01\"]\n\tusername = \xff\n\tuseHttpPath = true\n"
        );
        assert_eq!(
            logins.store(),
            "https://dom%5Cme:p%40%3A%2F%3F%23%25%20%21%2A%28%29%5B%5D$&+,;=~@github.com\n\
             http://:@h:8080/\n\
             https://ua:pa@github.com/org/repo.git\n\
             https://%FF:%FF@h/a%22b#f%01\n"
        );
    }

    #[test]
    fn a_server_without_a_scheme_is_no_path() {
        let logins = logins(&[("github.com", b"u", b"p")]);
        assert_eq!(
            logins.config(),
            b"[credential]\n\thelper = store\n[credential \"https://github.com\"]\n\tusername = u\n"
        );
        assert_eq!(logins.store(), "https://u:p@github.com\n");
    }

    #[test]
    fn a_name_that_git_would_read_as_another_is_quoted() {
        for (name, expected) in [
            ("plain", "plain"),
            ("two words", "two words"),
            ("it's", "it's"),
            (r"dom\me", r"dom\\me"),
            ("a#b", "\"a#b\""),
            ("a;b", "\"a;b\""),
            ("a\"b", r#""a\"b""#),
            (r"a\#", r#""a\\#""#),
            (" a", "\" a\""),
            ("a ", "\"a \""),
            ("a\n[core]\n\tsshCommand = x", r#""a\n[core]\n\tsshCommand = x""#),
            ("a\r", "\"a\r\""),
        ] {
            assert_eq!(value(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}
