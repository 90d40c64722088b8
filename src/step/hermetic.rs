//! Steps without a network: when one is asked for, and why it cannot be had.

use std::io;

use crate::host::Env;
use crate::sys::namespaces::NamespaceError;

/// Whether the step is to run without a network: the variable that Tekton's controller sets for a hermetic step, unless
/// another one says that this is no step of a Task (`cmd/entrypoint/runner.go`).
#[must_use]
pub fn is_asked_for(env: &Env) -> bool {
    env.get("TEKTON_HERMETIC").is_some_and(|value| value == "1")
        && env.get("TEKTON_RESOURCE_NAME").is_none_or(|name| name.is_empty())
}

/// What stands in the way of the namespaces, and what to do. `None` when it is the program that cannot be executed.
#[must_use]
pub fn reason(error: &NamespaceError) -> Option<String> {
    let hindrance = match error {
        NamespaceError::Program(_) => return None,
        NamespaceError::Make(source) => match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EUSERS) => {
                "no more of them may be made: the node's settings user.max_user_namespaces and its like are used up, or 0"
            }
            Some(libc::EINVAL | libc::ENOSYS) => "this node's kernel does not have them all",
            _ => {
                "the kernel or the container's security settings (seccomp, AppArmor) forbid it: allow unprivileged user \
                 namespaces, or run the step as root with CAP_SYS_ADMIN"
            }
        },
        NamespaceError::Map { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "the step's ids are mapped through /proc, which is not mounted here"
        }
        NamespaceError::Map { .. } => {
            "the step's user and group ids cannot all be mapped into them: run the step as root (CAP_SETUID, CAP_SETGID, \
             or CAP_SYS_ADMIN), and not in a pod with hostUsers: false"
        }
    };
    Some(format!(
        "TEKTON_HERMETIC=1 asks for a step without network, so it gets namespaces of its own, and {hindrance}; or take the \
         annotation experimental.tekton.dev/execution-mode away. Nothing was run"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_hermetic_by_exactly_1_and_without_a_resource() {
        for (variables, expected) in [
            (&[][..], false),
            (&[("TEKTON_HERMETIC", "1")], true),
            (&[("TEKTON_HERMETIC", "1"), ("TEKTON_RESOURCE_NAME", "")], true),
            (&[("TEKTON_HERMETIC", "1"), ("TEKTON_RESOURCE_NAME", "r")], false),
            (&[("TEKTON_HERMETIC", "true")], false),
            (&[("TEKTON_HERMETIC", "1 ")], false),
            (&[("TEKTON_HERMETIC", "")], false),
        ] {
            let env: Env = variables.iter().copied().collect();
            assert_eq!(is_asked_for(&env), expected, "{variables:?}");
        }
    }

    #[test]
    fn each_hindrance_says_what_to_do() {
        let error = |code| io::Error::from_raw_os_error(code);
        let map = |code| NamespaceError::Map { file: "/proc/7/uid_map".to_owned(), source: error(code) };
        for (error, part) in [
            (NamespaceError::Make(error(libc::EPERM)), "CAP_SYS_ADMIN"),
            (NamespaceError::Make(error(libc::ENOSPC)), "user.max_user_namespaces"),
            (NamespaceError::Make(error(libc::EINVAL)), "kernel"),
            (map(libc::EPERM), "run the step as root"),
            (map(libc::ENOENT), "/proc"),
        ] {
            let reason = reason(&error).unwrap();
            assert!(reason.contains(part) && reason.ends_with("Nothing was run"), "{reason}");
        }
        assert_eq!(reason(&NamespaceError::Program(error(libc::ENOENT))), None);
    }
}
