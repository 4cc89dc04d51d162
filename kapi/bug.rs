// SPDX-License-Identifier: GPL-2.0-only

//! Warnings about conditions that must never hold.
//!
//! A warning is a bug of this module or of the kernel. No input of user space may reach one: what
//! user space can cause is an errno.
//!
//! Fit for `rust/kernel/bug.rs`, which has [`kernel::warn_on!`] only.
//!
//! C header: [`include/asm-generic/bug.h`](srctree/include/asm-generic/bug.h)

/// Warns the first time that the condition is true, and returns the condition.
///
/// Equivalent to the kernel's `WARN_ON_ONCE` macro. Each place that the macro is written at warns
/// once.
///
/// # Examples
///
/// ```
/// use crate::kapi::bug::warn_on_once;
///
/// fn checked_sub(count: u64, n: u64) -> u64 {
///     if warn_on_once!(n > count) {
///         return 0;
///     }
///     count - n
/// }
///
/// assert_eq!(checked_sub(3, 2), 1);
/// ```
macro_rules! warn_on_once {
    ($cond:expr) => {{
        let cond: bool = $cond;
        if cond {
            kernel::do_once_lite! {
                kernel::warn_on!(true);
            }
        }
        cond
    }};
}
pub(crate) use warn_on_once;

/// Returns the value of an `Option` that is never `None`. If it is `None`, warns the first time and
/// returns an error.
///
/// # Examples
///
/// ```
/// use crate::kapi::bug::ok_or_warn;
///
/// fn last(list: &[u32; 3]) -> Result<u32> {
///     ok_or_warn!(list.last().copied(), EIO)
/// }
///
/// assert_eq!(last(&[1, 2, 3]), Ok(3));
/// ```
macro_rules! ok_or_warn {
    ($option:expr, $error:expr) => {{
        let option = $option;
        $crate::kapi::bug::warn_on_once!(option.is_none());
        option.ok_or($error)
    }};
}
pub(crate) use ok_or_warn;

/// Returns the value of an `Option` that is never `None`. If it is `None`, warns the first time and
/// returns `EINVAL`, for the reason [`Impossible`](crate::kapi::reason::Reason::Impossible).
///
/// # Examples
///
/// ```
/// use crate::kapi::bug::some_or_warn;
///
/// fn last(list: &[u32; 3]) -> Result<u32> {
///     Ok(some_or_warn!(list.last().copied())?)
/// }
///
/// assert_eq!(last(&[1, 2, 3]), Ok(3));
/// ```
macro_rules! some_or_warn {
    ($option:expr) => {{
        $crate::kapi::bug::ok_or_warn!($option, $crate::kapi::reason::Reason::Impossible.with(0))
    }};
}
pub(crate) use some_or_warn;

/// Subtracts from an unsigned number what is at most as large. If it is larger, warns the first time
/// and sets the number to 0.
///
/// # Examples
///
/// ```
/// use crate::kapi::bug::sub_or_warn;
///
/// let mut users = 3u32;
/// sub_or_warn!(users, 1);
/// assert_eq!(users, 2);
/// ```
macro_rules! sub_or_warn {
    ($number:expr, $fewer:expr) => {{
        let number = &mut $number;
        let left = number.checked_sub($fewer);
        $crate::kapi::bug::warn_on_once!(left.is_none());
        *number = left.unwrap_or(0);
    }};
}
pub(crate) use sub_or_warn;

/// Warns the first time that the condition is true, on kernels with `CONFIG_RUST_DEBUG_ASSERTIONS`
/// only. On others the condition is not evaluated.
///
/// For conditions that are expensive to evaluate. Unlike `debug_assert!`, it does not panic.
///
/// # Examples
///
/// ```
/// use crate::kapi::bug::debug_warn_on_once;
///
/// let sorted = [1, 2, 3];
/// debug_warn_on_once!(!sorted.is_sorted());
/// ```
#[allow(unused_macros, reason = "not every configuration has a use of it")]
macro_rules! debug_warn_on_once {
    ($cond:expr) => {
        if cfg!(debug_assertions) {
            $crate::kapi::bug::warn_on_once!($cond);
        }
    };
}
#[allow(unused_imports, reason = "not every configuration has a use of it")]
pub(crate) use debug_warn_on_once;
