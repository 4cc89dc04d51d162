// SPDX-License-Identifier: GPL-2.0-only

//! Why calls are refused: an error number says that a call has failed, a [`Reason`] says why.
//!
//! Functions that refuse return a [`Refusal`] in the [`Result`] of this module. It becomes an
//! [`Error`] where the call returns to user space or to vfio; there the context records it
//! (`Ctx::refuse`).

mod last;
mod table;

use core::convert::Infallible;

use kernel::{
    alloc::AllocError,
    fmt,
    prelude::*, //
};

pub(crate) use last::{
    LastRefusal,
    Refused, //
};
pub(crate) use table::Reason;

/// A result of a function that says why it refuses.
pub(crate) type Result<T = (), E = Refusal> = core::result::Result<T, E>;

macro_rules! reasons {
    ($(
        $reason:ident = $code:literal, [$errno:ident $($more:tt)*], $name:literal, $text:literal;
    )*) => {
        /// Why a call was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum Reason {
            $(
                #[doc = $text]
                $reason = $code,
            )*
        }

        impl Reason {
            /// Returns the error that usually comes with the reason.
            #[inline(always)]
            pub(super) fn error(self) -> kernel::error::Error {
                match self {
                    $(Self::$reason => kernel::error::code::$errno,)*
                }
            }

            /// Returns the name, which does not change between versions of the module. What is
            /// before the first dash is the area.
            pub(crate) fn name(self) -> &'static kernel::str::CStr {
                match self {
                    $(Self::$reason => $name,)*
                }
            }

            /// Returns the text, in which `{}` or `{:#x}` stands for the number.
            pub(super) fn text(self) -> &'static str {
                match self {
                    $(Self::$reason => $text,)*
                }
            }
        }
    };
}
use reasons;

impl Reason {
    /// Returns the code, which does not change between versions of the module.
    pub(crate) fn code(self) -> u32 {
        // CAST: The code is that of the enum.
        self as u32
    }

    /// Returns a refusal for this reason with its usual error.
    #[inline(always)]
    pub(crate) fn with(self, number: u64) -> Refusal {
        self.errno(self.error(), number)
    }

    /// Returns a refusal for this reason with another error.
    #[inline(always)]
    pub(crate) fn errno(self, error: Error, number: u64) -> Refusal {
        Refusal {
            number,
            error,
            reason: self,
        }
    }
}

/// A call that is refused: the error, the reason, and the number that the reason's text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    number: u64,
    error: Error,
    reason: Reason,
}

// Results with it are returned in two registers.
const _: () = assert!(size_of::<Result>() == 16 && size_of::<Result<u64>>() == 16);

impl Refusal {
    /// Returns the error.
    pub(crate) fn error(&self) -> Error {
        self.error
    }

    /// Returns the refusal with another error. The reason stays.
    pub(crate) fn with_error(self, error: Error) -> Self {
        Self { error, ..self }
    }

    /// Returns the reason.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the number, whose meaning is in the reason's text.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl PartialEq<Error> for Refusal {
    fn eq(&self, error: &Error) -> bool {
        self.error == *error
    }
}

/// Shows the reason's text with the number in it.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.reason.text();
        if let Some((before, after)) = text.split_once("{:#x}") {
            return write!(f, "{before}{:#x}{after}", self.number);
        }
        match text.split_once("{}") {
            Some((before, after)) => write!(f, "{before}{}{after}", self.number),
            None => f.write_str(text),
        }
    }
}

impl From<Error> for Refusal {
    /// An error of a kernel function that has no reason of ours.
    #[cold]
    fn from(error: Error) -> Self {
        let (reason, number) = if error == ENOMEM {
            (Reason::NoMemory, 0)
        } else if error == EFAULT {
            (Reason::UserMemory, 0)
        } else if error == EINTR {
            (Reason::Killed, 0)
        } else {
            (Reason::Kernel, u64::from(error.to_errno().unsigned_abs()))
        };
        reason.errno(error, number)
    }
}

impl From<AllocError> for Refusal {
    fn from(_: AllocError) -> Self {
        Reason::NoMemory.with(0)
    }
}

impl From<Infallible> for Refusal {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// Errors that are given a reason.
pub(crate) trait Because<T> {
    /// Gives the error a reason. The error number stays.
    fn because(self, reason: Reason, number: u64) -> Result<T>;
}

impl<T> Because<T> for Result<T, Error> {
    fn because(self, reason: Reason, number: u64) -> Result<T> {
        self.map_err(|error| reason.errno(error, number))
    }
}

impl<T> Because<T> for Result<T> {
    /// As for an error of the kernel, unless there is a reason that says more.
    fn because(self, reason: Reason, number: u64) -> Result<T> {
        self.map_err(|refusal| match refusal.reason {
            Reason::Kernel | Reason::NoMemory | Reason::UserMemory => {
                reason.errno(refusal.error, number)
            }
            _ => refusal,
        })
    }
}
