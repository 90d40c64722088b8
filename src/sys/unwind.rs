//! The unwinder of a program that never unwinds.
//!
//! A release build aborts on a panic (`panic = "abort"`), after the hook has said where it happened. Yet std brings along
//! what it takes to print the stack then, if `RUST_BACKTRACE` asks for it: the compiler's unwinder, and readers of ELF,
//! DWARF and zlib for the names, which a stripped program does not have. That is a sixth of the smallest build, and
//! none of it is needed for anything else.
//!
//! So these take the place of the compiler's functions, all of those that its object file with the unwinder has: that file
//! is then not linked, and with a walk that sees no frame, neither are the readers. Called is at most the first.
//!
//! The functions: <https://itanium-cxx-abi.github.io/cxx-abi/abi-eh.html#base-abi>.

use std::ffi::{c_int, c_void};
use std::process::abort;

/// "The end of the stack has been reached."
const END_OF_STACK: c_int = 5;

/// Walks the stack, from which nothing is seen.
// SAFETY: (of this and all that follow) name and type are those of the ABI, and nothing is read or written.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Throws, and finds nobody who catches.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_RaiseException(_exception: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions of a walk that sees a frame, of an exception in flight: there is none.
macro_rules! never_called {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> $result {
            abort()
        }
    )*};
}

never_called! {
    _Unwind_DeleteException(*mut c_void) -> ();
    _Unwind_FindEnclosingFunction(*mut c_void) -> *mut c_void;
    _Unwind_ForcedUnwind(*mut c_void, *const c_void, *mut c_void) -> c_int;
    _Unwind_GetCFA(*mut c_void) -> usize;
    _Unwind_GetDataRelBase(*mut c_void) -> usize;
    _Unwind_GetGR(*mut c_void, c_int) -> usize;
    _Unwind_GetIP(*mut c_void) -> usize;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> *mut c_void;
    _Unwind_GetRegionStart(*mut c_void) -> usize;
    _Unwind_GetTextRelBase(*mut c_void) -> usize;
    _Unwind_Resume(*mut c_void) -> ();
    _Unwind_Resume_or_Rethrow(*mut c_void) -> c_int;
    _Unwind_SetGR(*mut c_void, c_int, usize) -> ();
    _Unwind_SetIP(*mut c_void, usize) -> ();
    __frame_state_for(*mut c_void, *mut c_void) -> *mut c_void;
}
