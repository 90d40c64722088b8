//! Why a program could not be started: what the kernel's few error codes mean for this file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::image::shown;
use crate::step::command::Program;
use crate::step::hermetic;
use crate::step::output::OutputError;
use crate::sys::cause::{Cause, chain};
use crate::sys::file;
use crate::sys::namespaces::NamespaceError;

/// How much of a file is read to explain it: the ELF header, its program headers, or the first line of a script.
const HEAD: u64 = 4096;

/// Why a step was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its time was up before.
    #[error("the step's time was up before it was started")]
    TimeIsUp,
    /// What it prints cannot be copied.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The program cannot be executed.
    #[error("executing the program")]
    Program(#[source] io::Error),
    /// It cannot be executed without a network, or at all.
    #[error(transparent)]
    Isolated(NamespaceError),
}

impl StartError {
    /// The sentence about it: Tekton's words, then what it means and what to do.
    #[must_use]
    pub fn explain(&self, program: &Program) -> String {
        match self {
            Self::TimeIsUp | Self::Output(_) => chain(self),
            Self::Program(error) => explain(program, error),
            Self::Isolated(error) => match hermetic::reason(error) {
                Some(reason) => format!("{}: {reason}", upstream(program, error.cause())),
                None => explain(program, error.cause()),
            },
        }
    }
}

/// Tekton's words.
fn upstream(program: &Program, error: &io::Error) -> String {
    // An image can have any name for its program, and the log is a terminal's.
    format!("fork/exec {}: {}", shown(&program.file().to_string_lossy(), 4096), Cause(error))
}

/// Explains why `execve` refused a program: Tekton's words, then what it means and what to do.
#[must_use]
pub fn explain(program: &Program, error: &io::Error) -> String {
    let upstream = upstream(program, error);
    match reason(program, program.file(), error.raw_os_error()) {
        Some(reason) => format!("{upstream}: {reason}"),
        None => upstream,
    }
}

fn reason(program: &Program, file: &Path, code: Option<i32>) -> Option<String> {
    match code? {
        libc::ENOENT if file.symlink_metadata().is_err() => {
            Some("there is no such file in this step's image".to_owned())
        }
        libc::ENOENT => match interpreter(&head(file)?) {
            Some(Interpreter::Script(needed)) => Some(format!(
                "its interpreter {} does not exist in this step's image: use an image that has it, or change the first \
                 line of the script",
                needed.display()
            )),
            Some(Interpreter::Loader(needed)) => Some(format!(
                "its loader {} does not exist in this step's image: the program was linked for another C library; \
                 link it statically or use an image that has the loader",
                needed.display()
            )),
            None => Some("it is a link that leads nowhere".to_owned()),
        },
        libc::EACCES => Some(no_access(file)),
        libc::ENOEXEC => Some(not_a_program(&head(file)?)),
        libc::E2BIG => {
            let bytes: usize = program.argv.iter().chain(&program.environment).map(|text| text.as_bytes().len()).sum();
            Some(format!(
                "arguments and environment together have {bytes} bytes, or one of them more than 131071: pass large \
                 values in files"
            ))
        }
        libc::EPERM => Some("the container's security settings forbid it".to_owned()),
        libc::ETXTBSY => Some("it is being written to by another process".to_owned()),
        _ => None,
    }
}

fn no_access(file: &Path) -> String {
    let Ok(metadata) = file.metadata() else {
        return "a directory on the way to it may not be entered by this user".to_owned();
    };
    if metadata.is_dir() {
        return "it is a directory".to_owned();
    }
    if metadata.mode() & 0o111 == 0 {
        return format!("it is not executable (mode {:04o}): chmod +x it", metadata.mode() & 0o7777);
    }
    if statvfs(file).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC)) {
        return "it lies on a volume that is mounted noexec: put it elsewhere".to_owned();
    }
    match head(file).as_deref().and_then(interpreter) {
        Some(Interpreter::Script(needed) | Interpreter::Loader(needed)) => {
            format!("its interpreter {} may not be executed by this user", needed.display())
        }
        None => format!("it may not be executed by this user (mode {:04o})", metadata.mode() & 0o7777),
    }
}

/// What a file is that the kernel does not take for a program.
fn not_a_program(head: &[u8]) -> String {
    if head.is_empty() {
        return "the file is empty".to_owned();
    }
    if let Some(machine) = elf_machine(head) {
        let (theirs, ours) = (machine_name(machine), std::env::consts::ARCH);
        if theirs != ours {
            return format!(
                "the program was built for {theirs}, this node is {ours}: use an image for this node's platform"
            );
        }
        return "the program is damaged, or of a form that this kernel does not run".to_owned();
    }
    if head.starts_with(b"#!") {
        return "its first line names no interpreter that can be run".to_owned();
    }
    "it is neither a program nor a script: a script needs a first line such as #!/bin/sh".to_owned()
}

/// The first bytes of a file, if it can be read.
fn head(file: &Path) -> Option<Vec<u8>> {
    file::head(file, HEAD).ok()
}

/// What the kernel runs in order to run a file.
#[derive(Debug, PartialEq, Eq)]
enum Interpreter {
    /// The interpreter of a script, from its first line.
    Script(PathBuf),
    /// The loader of a dynamically linked program.
    Loader(PathBuf),
}

fn interpreter(head: &[u8]) -> Option<Interpreter> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let word = line.split(|byte| byte.is_ascii_whitespace() && *byte != b'\r').find(|word| !word.is_empty())?;
        // A carriage return, left by another system's editor, is part of the name: show it.
        let shown = String::from_utf8_lossy(word).replace('\r', "\\r");
        return Some(Interpreter::Script(PathBuf::from(shown)));
    }
    elf_loader(head).map(Interpreter::Loader)
}

/// Bytes of an ELF file as a number, in this machine's byte order: only what could run here is read further than that.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    let mut whole = [0; 8];
    if cfg!(target_endian = "little") {
        whole.get_mut(..size)?.copy_from_slice(field);
        Some(u64::from_le_bytes(whole))
    } else {
        whole.get_mut(8 - size..)?.copy_from_slice(field);
        Some(u64::from_be_bytes(whole))
    }
}

/// The machine that an ELF file is for: `e_machine`, in the file's own byte order.
fn elf_machine(head: &[u8]) -> Option<u16> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let field = [*head.get(18)?, *head.get(19)?];
    Some(if head.get(5) == Some(&2) { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) })
}

/// Rust's name of an ELF machine number, for those that Kubernetes nodes have.
fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        21 => "powerpc64".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        258 => "loongarch64".to_owned(),
        other => format!("ELF machine {other}"),
    }
}

/// The loader that a 64-bit ELF file asks for (`PT_INTERP`), if its name stands within the head.
/// <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html>
fn elf_loader(head: &[u8]) -> Option<PathBuf> {
    const PT_INTERP: u64 = 3;
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let at = |offset: u64| usize::try_from(offset).ok();
    let table = at(number(head, 32, 8)?)?;
    let (size, count) = (at(number(head, 54, 2)?)?, at(number(head, 56, 2)?)?);
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if number(head, header, 4)? == PT_INTERP {
            let (start, length) = (at(number(head, header + 8, 8)?)?, at(number(head, header + 32, 8)?)?);
            let name = head.get(start..start.checked_add(length)?)?;
            let name = name.split(|byte| *byte == 0).next()?;
            return Some(PathBuf::from(String::from_utf8_lossy(name).into_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_of_a_script_is_the_first_word_of_its_first_line() {
        for (head, expected) in [
            ("#!/bin/bash\necho", Some("/bin/bash")),
            ("#! /usr/bin/env -S python3 -u\n", Some("/usr/bin/env")),
            ("#!/bin/sh\r\n", Some("/bin/sh\\r")),
            ("#!\n", None),
            ("echo", None),
        ] {
            let found = interpreter(head.as_bytes());
            assert_eq!(found, expected.map(|path| Interpreter::Script(path.into())), "{head:?}");
        }
    }

    #[test]
    fn hostile_files_explain_themselves_without_a_panic() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        for length in 0..200 {
            elf.resize(7 + length, 0xff);
            let _ = (interpreter(&elf), not_a_program(&elf));
        }
    }

    #[test]
    fn a_program_for_another_machine_is_named_with_both() {
        let machine: u8 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(20, 0);
        elf[18] = machine;
        let text = not_a_program(&elf);
        assert!(text.contains("was built for") && text.contains(std::env::consts::ARCH), "{text}");
    }

    #[test]
    fn what_is_no_program_is_told_what_it_lacks() {
        assert_eq!(not_a_program(b""), "the file is empty");
        assert!(not_a_program(b"echo hi").contains("#!/bin/sh"));
    }
}
