//! What std wants to know of a thread's stack, answered without the C library.

/// Takes the place of the C library's function of that name, which says where a thread's stack lies. Only std calls it, at
/// the start of the process and of each thread, to tell an overflow of the stack from other faults in what it prints
/// before the fault ends the process. The C library would read `/proc/self/maps` for the answer, with a scanner that
/// brings 130 kB of number formats along.
///
/// "Not known" is an answer that std provides for; an overflow still ends the process, by SIGSEGV, at the guard page.
// SAFETY: the name is the C library's, and so are type and meaning: an error number, and nothing written.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: libc::pthread_t, _: *mut libc::pthread_attr_t) -> libc::c_int {
    libc::ENOSYS
}
