// SPDX-License-Identifier: GPL-2.0-only

//! Replaces the warnings of the module's `kapi/bug.rs`: a test that triggers one fails.

#[allow(unused_macros)]
macro_rules! warn_on_once {
    ($cond:expr) => {{
        let cond: bool = $cond;
        // A test that fails drops what it has in any state.
        assert!(
            !cond || std::thread::panicking(),
            "a warning: {}",
            stringify!($cond)
        );
        cond
    }};
}
#[allow(unused_imports)]
pub(crate) use warn_on_once;

#[allow(unused_macros)]
macro_rules! ok_or_warn {
    ($option:expr, $error:expr) => {{
        let option = $option;
        $crate::kapi::bug::warn_on_once!(option.is_none());
        option.ok_or($error)
    }};
}
#[allow(unused_imports)]
pub(crate) use ok_or_warn;

#[allow(unused_macros)]
macro_rules! some_or_warn {
    ($option:expr) => {{
        $crate::kapi::bug::ok_or_warn!($option, $crate::kapi::reason::Reason::Impossible.with(0))
    }};
}
#[allow(unused_imports)]
pub(crate) use some_or_warn;

#[allow(unused_macros)]
macro_rules! sub_or_warn {
    ($number:expr, $fewer:expr) => {{
        let number = &mut $number;
        let left = number.checked_sub($fewer);
        $crate::kapi::bug::warn_on_once!(left.is_none());
        *number = left.unwrap_or(0);
    }};
}
#[allow(unused_imports)]
pub(crate) use sub_or_warn;

#[allow(unused_macros)]
macro_rules! debug_warn_on_once {
    ($cond:expr) => {
        $crate::kapi::bug::warn_on_once!($cond);
    };
}
#[allow(unused_imports)]
pub(crate) use debug_warn_on_once;
