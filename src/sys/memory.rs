//! Giving back the pages of the program itself before a long sleep.

use std::ffi::c_void;

/// Unmaps the program's code and constants until they are needed again: the next touch maps them back from the page
/// cache. Starting up touches code all over the file, and the kernel maps sixteen pages around each touch; a step that
/// waits for an hour needs almost none of them, and what nobody has mapped is the first to go when memory is short.
///
/// Only segments that cannot be written to are touched, so nothing that this process changed is lost.
pub fn release_program_pages() {
    // SAFETY: the callback is given valid headers by the C library and keeps none of them.
    unsafe { libc::dl_iterate_phdr(Some(release_segments), std::ptr::null_mut()) };
}

/// Called for each loaded object: for the program itself, which is the only one.
unsafe extern "C" fn release_segments(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> i32 {
    // SAFETY: the C library passes a valid pointer, for the time of the call.
    let object = unsafe { &*object };
    // SAFETY: `dlpi_phnum` headers stand at `dlpi_phdr`; they are part of the program.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    if !page.is_power_of_two() {
        return 1;
    }
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let (Ok(base), Ok(offset), Ok(length)) =
            (usize::try_from(object.dlpi_addr), usize::try_from(header.p_vaddr), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        // Whole pages of the segment only: its neighbours may share the first and the last.
        let start = base.wrapping_add(offset).next_multiple_of(page);
        let end = base.wrapping_add(offset).wrapping_add(length) & !(page - 1);
        if start < end {
            // SAFETY: these pages are this program's, backed by its file and never written to: dropping them loses
            // nothing, and whatever is touched next, this code included, is mapped again from the file.
            unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    // The first object is the program; a static one has no other.
    1
}
