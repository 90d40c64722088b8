//! A step that finds its files where Tekton mounts them.

#![allow(dead_code, unreachable_pub, clippy::expect_used, reason = "each test program uses a part of this")]

use std::fs;

use super::skip;
use super::step::Step;

/// A step that finds `tekton` of its scratch directory at `/tekton`: in a mount namespace, below a root directory that
/// is the real one but for that. `None` where the test is skipped because this takes root.
pub fn in_tekton() -> Option<Step> {
    const ROOT: &str = r#"
        set -e
        root=$1/root tekton=$1/tekton; shift
        mount -t tmpfs none "$root"
        for entry in /*; do
            if [ -L "$entry" ]; then cp -P "$entry" "$root/"
            elif [ -d "$entry" ] && [ "$entry" != /tekton ]; then mkdir "$root$entry"; mount --rbind "$entry" "$root$entry"
            fi
        done
        mkdir "$root/tekton"
        mount --bind "$tekton" "$root/tekton"
        exec chroot "$root" "$@""#;
    if !skip::root("files below /tekton") || !skip::programs("files below /tekton", &[("unshare", "util-linux")]) {
        return None;
    }
    let step = Step::new();
    fs::create_dir(step.path("root")).expect("a scratch directory");
    fs::create_dir_all(step.path("tekton/results")).expect("a scratch directory");
    let scratch = step.path("").display().to_string();
    Some(step.under(&["unshare", "-m", "sh", "-c", ROOT, "sh", &scratch]))
}
